#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
static int order(const void *a, const void *b) { return ((intptr_t)a > (intptr_t)b) - ((intptr_t)a < (intptr_t)b); }
static void visit(const void *n, VISIT when, int depth) {
    if (when == postorder || when == leaf) printf("%ld@%d ", (long)*(const intptr_t *)n, depth);
}
int main(void) {
    void *root = 0;
    srand48(3);
    for (int i = 0; i < 300; i++) tsearch((void *)(intptr_t)(lrand48() % 999 + 1), &root, order);
    for (intptr_t i = 1; i < 999; i += 2) tdelete((void *)i, &root, order);
    twalk(root, visit);
    return 0;
}
