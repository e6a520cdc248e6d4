/*
 * Runs short pieces of code on the host's own x86-64 processor with a full register state (host-cpu.ts has the record).
 * Code, data and stack lie at fixed addresses, the same as in the guest of insn-rig.ts. Build:
 * gcc -O1 -fno-pie -no-pie -o host-cpu host-cpu.c
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <ucontext.h>

#define CODE 0x110000
#define DATA 0x120000
#define STACK 0x130000
#define CONTEXT 0x140000
#define RECORD 1536
#define AT_GPR 32
#define AT_FLAGS 160
#define AT_FX 176
#define AT_MEMORY 688
#define MEMORY_BYTES 512
#define MEMORY_OFFSET 0x800

/* At CONTEXT: 0 host rsp, 8 code pointer, then as in a record from AT_GPR on. */
extern void run_code(void);
extern char back[], faulted[];
__asm__(
  ".text\n"
  "run_code:\n"
  "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
  "  mov %rsp, 0x140000\n"
  "  fxrstor64 0x1400b0\n"
  "  pushq 0x1400a0\n"
  "  popfq\n"
  "  mov 0x140020, %rax\n  mov 0x140028, %rcx\n  mov 0x140030, %rdx\n  mov 0x140038, %rbx\n"
  "  mov 0x140040, %rsp\n  mov 0x140048, %rbp\n  mov 0x140050, %rsi\n  mov 0x140058, %rdi\n"
  "  mov 0x140060, %r8\n  mov 0x140068, %r9\n  mov 0x140070, %r10\n  mov 0x140078, %r11\n"
  "  mov 0x140080, %r12\n  mov 0x140088, %r13\n  mov 0x140090, %r14\n  mov 0x140098, %r15\n"
  "  jmp *0x140008\n"
  "back:\n"
  "  mov %rax, 0x140020\n  mov %rcx, 0x140028\n  mov %rdx, 0x140030\n  mov %rbx, 0x140038\n"
  "  mov %rsp, 0x140040\n  mov %rbp, 0x140048\n  mov %rsi, 0x140050\n  mov %rdi, 0x140058\n"
  "  mov %r8, 0x140060\n  mov %r9, 0x140068\n  mov %r10, 0x140070\n  mov %r11, 0x140078\n"
  "  mov %r12, 0x140080\n  mov %r13, 0x140088\n  mov %r14, 0x140090\n  mov %r15, 0x140098\n"
  "  mov 0x140000, %rsp\n"
  "  pushfq\n  popq 0x1400a0\n"
  "  fxsave64 0x1400b0\n"
  "faulted:\n"
  "  cld\n  fninit\n"
  "  movl $0x1f80, 0x140010\n  ldmxcsr 0x140010\n"
  "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
  "  ret\n");

static volatile int signalled;

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)info;
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  ucontext_t *c = context;
  uint8_t *p = (uint8_t *)CONTEXT;
  signalled = number;
  for (int i = 0; i < 16; i++) memcpy(p + 0x20 + 8 * i, &c->uc_mcontext.gregs[order[i]], 8);
  memcpy(p + 0xa0, &c->uc_mcontext.gregs[REG_EFL], 8);
  memcpy(p + 0xb0, c->uc_mcontext.fpregs, 512);
  c->uc_mcontext.gregs[REG_RIP] = (greg_t)faulted;
  memcpy(&c->uc_mcontext.gregs[REG_RSP], p, 8);
  c->uc_mcontext.gregs[REG_EFL] &= ~0x500;
}

static uint8_t *map(uintptr_t at, size_t size, int prot) {
  void *p = mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  return p == (void *)at ? p : 0;
}

int main(void) {
  uint8_t *code = map(CODE, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC);
  uint8_t *data = map(DATA, 0x1000, PROT_READ | PROT_WRITE);
  uint8_t *stack = map(STACK, 0x1000, PROT_READ | PROT_WRITE);
  uint8_t *context = map(CONTEXT, 0x1000, PROT_READ | PROT_WRITE);
  static uint8_t alternate[65536];
  if (!code || !data || !stack || !context) return 2;
  stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&ss, 0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  static const int numbers[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGALRM};
  for (int i = 0; i < 6; i++) sigaction(numbers[i], &action, 0);
  static uint8_t in[RECORD];
  while (fread(in, 1, RECORD, stdin) == RECORD) {
    int length = in[0];
    memset(code, 0xcc, 64);
    memcpy(code, in + 1, length);
    /* jmp *0(%rip); address */
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
    memcpy(code + length, jump, 6);
    uintptr_t target = (uintptr_t)back;
    memcpy(code + length + 6, &target, 8);
    memset(data, 0, 0x1000);
    memset(stack, 0, 0x1000);
    memcpy(data + MEMORY_OFFSET, in + AT_MEMORY, MEMORY_BYTES);
    memcpy(context + 0x20, in + AT_GPR, AT_MEMORY - AT_GPR);
    uintptr_t start = CODE;
    memcpy(context + 8, &start, 8);
    signalled = 0;
    /* Against loops without end: SIGALRM is then the result. */
    alarm(2);
    run_code();
    alarm(0);
    in[0] = (uint8_t)signalled;
    memcpy(in + AT_GPR, context + 0x20, AT_MEMORY - AT_GPR);
    memcpy(in + AT_MEMORY, data + MEMORY_OFFSET, MEMORY_BYTES);
    memcpy(in + AT_MEMORY + MEMORY_BYTES, stack + 0x800 - 128, 256);
    fwrite(in, 1, RECORD, stdout);
  }
  return 0;
}
