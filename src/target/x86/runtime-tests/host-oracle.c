/*
 * Runs single x87 and SSE instructions on the host's own processor. Reads records of 256 bytes from standard input and
 * writes one result of 256 bytes for each; the layout is in host-oracle.ts. Build: gcc -O1 -o oracle host-oracle.c
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile uint32_t trapped_mxcsr;

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)info;
  trapped_mxcsr = ((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(back, number);
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGFPE, &action, 0);
  sigaction(SIGILL, &action, 0);
  uint8_t *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 2;
  static uint8_t in[256] __attribute__((aligned(64)));
  static uint8_t out[256] __attribute__((aligned(64)));
  while (fread(in, 1, 256, stdin) == 256) {
    uint8_t *p = code;
    memset(out, 0, sizeof out);
    memcpy(out + 144, in + 144, 16);
    uint32_t flags;
    memcpy(&flags, in + 16, 4);
    /* rdi = in, rsi = memory operand, rdx = out */
    if (in[0] == 0) {
      static const uint8_t load[] = {0xdd, 0x67, 0x20}; /* frstor 32(%rdi) */
      memcpy(p, load, sizeof load), p += sizeof load;
    } else {
      static const uint8_t load[] = {
        0x0f, 0xae, 0x57, 0x14,             /* ldmxcsr 20(%rdi) */
        0x0f, 0x10, 0x47, 0x20,             /* movups 32(%rdi), %xmm0 */
        0x0f, 0x10, 0x4f, 0x30,             /* movups 48(%rdi), %xmm1 */
        0x48, 0x8b, 0x47, 0x40,             /* mov 64(%rdi), %rax */
        0x48, 0x8b, 0x4f, 0x48,             /* mov 72(%rdi), %rcx */
      };
      memcpy(p, load, sizeof load), p += sizeof load;
      /* edx is an implicit length operand of the explicit-length string compares: out moves to r8. */
      static const uint8_t move[] = {0x49, 0x89, 0xd0, 0x48, 0x8b, 0x57, 0x50}; /* mov %rdx, %r8; mov 80(%rdi), %rdx */
      memcpy(p, move, sizeof move), p += sizeof move;
    }
    *p++ = 0x68, memcpy(p, &flags, 4), p += 4, *p++ = 0x9d; /* push flags; popf */
    memcpy(p, in + 2, in[1]), p += in[1];
    if (in[0] == 0) {
      static const uint8_t save[] = {
        0xdd, 0x72, 0x20,                   /* fnsave 32(%rdx) */
        0x9c, 0x8f, 0x42, 0x08,             /* pushf; pop 8(%rdx) */
        0x48, 0x89, 0x42, 0x10,             /* mov %rax, 16(%rdx) */
        0xc3,
      };
      memcpy(p, save, sizeof save);
    } else {
      static const uint8_t save[] = {
        0x41, 0x0f, 0xae, 0x58, 0x18,       /* stmxcsr 24(%r8) */
        0x41, 0x0f, 0x11, 0x40, 0x20,       /* movups %xmm0, 32(%r8) */
        0x9c, 0x41, 0x8f, 0x40, 0x08,       /* pushf; pop 8(%r8) */
        0x49, 0x89, 0x40, 0x10,             /* mov %rax, 16(%r8) */
        0x49, 0x89, 0x48, 0x40,             /* mov %rcx, 64(%r8) */
        0xc3,
      };
      memcpy(p, save, sizeof save);
    }
    int number = sigsetjmp(back, 0);
    if (number == 0) {
      ((void (*)(uint8_t *, uint8_t *, uint8_t *))code)(in, out + 144, out);
    } else {
      out[0] = (uint8_t)number;
      memcpy(out + 24, (void *)&trapped_mxcsr, 4);
      __asm__ volatile("fninit");
    }
    uint32_t plain = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(plain));
    fwrite(out, 1, 256, stdout);
  }
  return 0;
}
