/* Each fault a message of its own. */
#define GROUPS_IN_MESSAGE 1
#include "uring_socket.h"

int main(int argc, char **argv) {
    return uring_socket_main(argc, argv);
}
