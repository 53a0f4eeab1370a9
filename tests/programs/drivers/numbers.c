#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        double d = strtod(argv[i], 0);
        printf("%.17g %a %.40f %Lg\n", d, d, d, strtold(argv[i], 0));
    }
    return 0;
}
