/*
 * The cost of a port exit and of an MMIO exit in the smallest C program there is for them, for `bench/kvm.ts`: a real-mode guest
 * that loops over one access, in batches. Prints nanoseconds of the best batch, a line each.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }

int main(int argc, char **argv) {
  int batches = argc > 1 ? atoi(argv[1]) : 10, size = argc > 2 ? atoi(argv[2]) : 2000;
  int kvm = open("/dev/kvm", O_RDWR), vm = ioctl(kvm, KVM_CREATE_VM, 0);
  unsigned char *ram = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct kvm_userspace_memory_region r = { 0, 0, 0, 1 << 20, (unsigned long)ram };
  if (kvm < 0 || vm < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r)) return 1;
  int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  struct kvm_run *run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
  static const unsigned char port[] = { 0xe6, 0x11, 0xeb, 0xfc };
  static const unsigned char mmio[] = { 0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa2, 0x10, 0x80, 0xeb, 0xfb };
  for (int k = 0; k < 2; k++) {
    struct kvm_sregs s;
    struct kvm_regs g = { .rip = 0x1000, .rflags = 2, .rsp = 0x7000 };
    memcpy(ram + 0x1000, k ? mmio : port, k ? sizeof mmio : sizeof port);
    run->immediate_exit = 1; ioctl(cpu, KVM_RUN, 0); run->immediate_exit = 0;
    ioctl(cpu, KVM_GET_SREGS, &s); s.cs.base = 0; s.cs.selector = 0; s.ds.base = 0; s.ds.selector = 0;
    ioctl(cpu, KVM_SET_SREGS, &s); ioctl(cpu, KVM_SET_REGS, &g);
    double best = 1e18;
    unsigned long sum = 0;
    for (int b = 0; b < batches; b++) {
      double t = now();
      for (int i = 0; i < size; i++) {
        ioctl(cpu, KVM_RUN, 0);
        if (run->exit_reason == KVM_EXIT_IO) sum += ((unsigned char *)run)[run->io.data_offset];
        else if (run->exit_reason == KVM_EXIT_MMIO) sum += run->mmio.data[0];
        else return 2;
      }
      t = (now() - t) / size;
      if (t < best) best = t;
    }
    printf("%s %.0f\n", k ? "mmio" : "port", best);
    if (sum == 1) puts("");
  }
  return 0;
}
