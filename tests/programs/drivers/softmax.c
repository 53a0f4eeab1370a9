#include <math.h>
#include <stdio.h>
int main(void) {
    static float x[257];
    float top = -INFINITY, sum = 0;
    for (int i = 0; i < 257; i++) x[i] = sinf(i * 0.37f) * 9, top = fmaxf(top, x[i]);
    for (int i = 0; i < 257; i++) sum += x[i] = expf(x[i] - top);
    for (int i = 0; i < 257; i++) x[i] /= sum;
    for (int i = 0; i < 257; i += 8) printf("%a\n", x[i]);
    return 0;
}
