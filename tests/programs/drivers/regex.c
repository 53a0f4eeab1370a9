#include <regex.h>
#include <stdio.h>
int main(int argc, char **argv) {
    regex_t re;
    regmatch_t m[3];
    if (regcomp(&re, argv[1], REG_EXTENDED | REG_ICASE)) return 9;
    int hits = 0;
    for (int i = 2; i < argc; i++)
        if (!regexec(&re, argv[i], 3, m, 0))
            hits++, printf("%s %d-%d %d-%d\n", argv[i], (int)m[0].rm_so, (int)m[0].rm_eo, (int)m[1].rm_so, (int)m[1].rm_eo);
    return hits;
}
