#include <stdio.h>
#include <stdlib.h>
static int less(const void *a, const void *b) { return (*(int *)a > *(int *)b) - (*(int *)a < *(int *)b); }
int main(void) {
    static int v[3000];
    srandom(7);
    for (int i = 0; i < 3000; i++) v[i] = (int)random();
    qsort(v, 3000, sizeof *v, less);
    for (int i = 0; i < 3000; i += 97) printf("%d\n", v[i]);
    return 0;
}
