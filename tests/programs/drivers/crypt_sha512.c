#include <crypt.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) puts(crypt(argv[i], "$6$rounds=1000$potluck"));
    return argc;
}
