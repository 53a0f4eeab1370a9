#include <crypt.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) puts(crypt(argv[i], "ab"));
    return argc;
}
