#include <stdio.h>
#include <string.h>
int main(void) {
    static char a[900], b[900];
    for (int n = 0; n < 800; n += 13) {
        memset(a, 'a' + n % 26, n), a[n] = 0;
        memcpy(b + n % 7, a, n + 1), memmove(b + 3, b, n + 1);
        b[n + 4] = 0;
        printf("%zu %zu %d %d\n", strlen(a), strlen(b + 3), strcmp(a, b + 3) > 0, (int)(strchr(b + 3, 'z') != 0));
        if (memchr(a, 'c', n)) puts(strstr(b + 3, "cc") ? "cc" : "-");
    }
    return 0;
}
