/* As many faults to a message as the window has room for, which is how a FaultServer sends them. */
#define GROUPS_IN_MESSAGE 64
#include "uring_socket.h"

int main(int argc, char **argv) {
    return uring_socket_main(argc, argv);
}
