/* Prints "name value" for what the kernel's own headers say. What they are too old for is left out. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <linux/time_types.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif

#define VALUE(name) printf("%s %lld\n", #name, (long long) (name))
#define SIZE(type) printf("sizeof(%s) %zu\n", #type, sizeof(struct type))
#define FIELD(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field))

int main(void) {
    SIZE(io_uring_sqe);
    FIELD(io_uring_sqe, fd);
    FIELD(io_uring_sqe, off);
    FIELD(io_uring_sqe, addr);
    FIELD(io_uring_sqe, len);
    FIELD(io_uring_sqe, msg_flags);
    FIELD(io_uring_sqe, user_data);
    FIELD(io_uring_sqe, buf_index);
    FIELD(io_uring_sqe, addr3);
    SIZE(io_uring_cqe);
    FIELD(io_uring_cqe, user_data);
    FIELD(io_uring_cqe, res);
    FIELD(io_uring_cqe, flags);
    SIZE(io_uring_params);
    FIELD(io_uring_params, sq_entries);
    FIELD(io_uring_params, cq_entries);
    FIELD(io_uring_params, flags);
    FIELD(io_uring_params, features);
    FIELD(io_uring_params, sq_off);
    FIELD(io_uring_params, cq_off);
    SIZE(io_sqring_offsets);
    FIELD(io_sqring_offsets, tail);
    FIELD(io_sqring_offsets, flags);
    FIELD(io_sqring_offsets, array);
    SIZE(io_cqring_offsets);
    FIELD(io_cqring_offsets, head);
    FIELD(io_cqring_offsets, tail);
    FIELD(io_cqring_offsets, overflow);
    FIELD(io_cqring_offsets, cqes);
    SIZE(io_uring_getevents_arg);
    FIELD(io_uring_getevents_arg, ts);
    SIZE(__kernel_timespec);
    FIELD(__kernel_timespec, tv_nsec);
    SIZE(io_uring_rsrc_update);
    FIELD(io_uring_rsrc_update, data);
    SIZE(io_uring_sync_cancel_reg);
    FIELD(io_uring_sync_cancel_reg, flags);
    FIELD(io_uring_sync_cancel_reg, timeout);
    VALUE(IORING_OP_NOP);
    VALUE(IORING_OP_POLL_ADD);
    VALUE(IORING_OP_ASYNC_CANCEL);
    VALUE(IORING_OP_READ);
    VALUE(IORING_OP_WRITE);
    VALUE(IORING_OP_SEND);
    VALUE(IORING_OP_RECV);
    VALUE(IORING_SETUP_CQSIZE);
    VALUE(IORING_SETUP_R_DISABLED);
    VALUE(IORING_SETUP_SUBMIT_ALL);
    VALUE(IORING_SETUP_COOP_TASKRUN);
    VALUE(IORING_SETUP_TASKRUN_FLAG);
    VALUE(IORING_SETUP_SINGLE_ISSUER);
    VALUE(IORING_SETUP_DEFER_TASKRUN);
#ifdef IORING_SETUP_NO_SQARRAY
    VALUE(IORING_SETUP_NO_SQARRAY);
#endif
    VALUE(IORING_FEAT_SINGLE_MMAP);
    VALUE(IORING_FEAT_NODROP);
    VALUE(IORING_FEAT_EXT_ARG);
    VALUE(IORING_OFF_SQ_RING);
    VALUE(IORING_OFF_SQES);
    VALUE(IORING_ENTER_GETEVENTS);
    VALUE(IORING_ENTER_EXT_ARG);
    VALUE(IORING_ENTER_REGISTERED_RING);
    VALUE(IORING_SQ_CQ_OVERFLOW);
    VALUE(IORING_SQ_TASKRUN);
    VALUE(IORING_REGISTER_FILES);
    VALUE(IORING_REGISTER_ENABLE_RINGS);
    VALUE(IORING_REGISTER_RING_FDS);
    VALUE(IORING_UNREGISTER_RING_FDS);
    VALUE(IORING_REGISTER_SYNC_CANCEL);
    VALUE(IOSQE_FIXED_FILE);
    VALUE(IOSQE_CQE_SKIP_SUCCESS);
    VALUE(IORING_ASYNC_CANCEL_ALL);
    VALUE(IORING_ASYNC_CANCEL_ANY);
    VALUE(IORING_CQE_F_SOCK_NONEMPTY);
    VALUE(SYS_io_uring_setup);
    VALUE(SYS_io_uring_enter);
    VALUE(SYS_io_uring_register);
    VALUE(SYS_userfaultfd);

    SIZE(epoll_event);
    FIELD(epoll_event, data);
    printf("EPOLLIN %d\n", (int) EPOLLIN);
    printf("EPOLLOUT %d\n", (int) EPOLLOUT);
    printf("EPOLLHUP %d\n", (int) EPOLLHUP);
    printf("EPOLLET %d\n", (int) EPOLLET);
    VALUE(EPOLL_CTL_ADD);
    VALUE(EPOLL_CTL_DEL);
    VALUE(EPOLL_CTL_MOD);
    VALUE(EPOLL_CLOEXEC);

    SIZE(pollfd);
    VALUE(POLLIN);
    VALUE(POLLOUT);
    VALUE(POLLERR);
    VALUE(POLLHUP);
    VALUE(POLLNVAL);
    VALUE(POLLRDNORM);
    VALUE(POLLRDHUP);

    FIELD(sockaddr_un, sun_path);
    SIZE(sockaddr_un);
    VALUE(AF_UNIX);
    VALUE(SOL_SOCKET);
    VALUE(SO_TYPE);
    VALUE(SOCK_STREAM);
    VALUE(SOCK_SEQPACKET);
    VALUE(SOCK_CLOEXEC);
    VALUE(MSG_NOSIGNAL);
    VALUE(EFD_CLOEXEC);
    VALUE(EFD_NONBLOCK);
    VALUE(MFD_CLOEXEC);
    VALUE(MFD_ALLOW_SEALING);
    VALUE(F_SETFL);
    VALUE(F_ADD_SEALS);
    VALUE(F_GET_SEALS);
    VALUE(F_SEAL_SEAL);
    VALUE(F_SEAL_SHRINK);
    VALUE(F_SEAL_GROW);
    printf("PROT_READ_WRITE %d\n", PROT_READ | PROT_WRITE);
    VALUE(MAP_SHARED);
    VALUE(MAP_PRIVATE);
    VALUE(MAP_ANONYMOUS);
    VALUE(MAP_POPULATE);
    VALUE(MADV_DONTNEED);
    VALUE(MADV_DONTFORK);
    VALUE(O_CLOEXEC);
    VALUE(O_NONBLOCK);
    VALUE(UFFD_USER_MODE_ONLY);
#ifdef IOMMU_FAULT_QUEUE_ALLOC
    SIZE(iommu_hwpt_pgfault);
    FIELD(iommu_hwpt_pgfault, flags);
    FIELD(iommu_hwpt_pgfault, dev_id);
    FIELD(iommu_hwpt_pgfault, pasid);
    FIELD(iommu_hwpt_pgfault, grpid);
    FIELD(iommu_hwpt_pgfault, perm);
    FIELD(iommu_hwpt_pgfault, addr);
    FIELD(iommu_hwpt_pgfault, length);
    FIELD(iommu_hwpt_pgfault, cookie);
    VALUE(IOMMU_PGFAULT_FLAGS_PASID_VALID);
    VALUE(IOMMU_PGFAULT_FLAGS_LAST_PAGE);
    VALUE(IOMMU_PGFAULT_PERM_READ);
    VALUE(IOMMU_PGFAULT_PERM_WRITE);
    VALUE(IOMMU_PGFAULT_PERM_EXEC);
    VALUE(IOMMU_PGFAULT_PERM_PRIV);
    SIZE(iommu_hwpt_page_response);
    FIELD(iommu_hwpt_page_response, cookie);
    FIELD(iommu_hwpt_page_response, code);
    VALUE(IOMMUFD_PAGE_RESP_SUCCESS);
    VALUE(IOMMUFD_PAGE_RESP_INVALID);
#endif
    return 0;
}
