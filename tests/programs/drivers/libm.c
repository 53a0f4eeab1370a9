#include <math.h>
#include <stdio.h>
int main(void) {
    for (double x = -3.3; x < 40; x += 0.731)
        printf("%a %a %a %a %a %a\n", sin(x), exp(x), pow(fabs(x), 1.7), atan2(x, 2), lgamma(x), cbrt(x));
    return 0;
}
