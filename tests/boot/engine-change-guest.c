/*
 * A guest that watches itself: fills and checks memory, checks x87 and SSE registers, counts timer interrupts and sees to it
 * that the time stamp counter never goes back. Says "R round ticks" on COM1, or "BAD what" once and halts.
 * Multiboot, 32-bit protected mode without paging.
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;
typedef unsigned short u16;

asm(".section .multiboot,\"a\"\n"
    ".long 0x1BADB002, 0, -0x1BADB002\n"
    ".text\n"
    ".globl _start\n"
    "_start: cli\n mov $stack_top, %esp\n call guest\n"
    "1: cli\n hlt\n jmp 1b\n"
    ".globl irq0\n"
    "irq0: pushal\n call tick\n popal\n iret\n"
    ".globl fault\n"
    "fault: call faulted\n"
    ".bss\n .balign 16\n .skip 16384\n stack_top:\n .text\n");

extern void irq0(void), fault(void);

static void outb(u16 port, u8 v) { asm volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static u64 rdtsc(void) { u64 v; asm volatile("rdtsc" : "=A"(v)); return v; }

static void put(char c) { while (!(inb(0x3fd) & 0x20)) ; outb(0x3f8, c); }
static void say(const char *s) { while (*s) put(*s++); }
static void number(u32 n) {
  char b[10]; int i = 0;
  do b[i++] = '0' + n % 10; while (n /= 10);
  while (i) put(b[--i]);
}
static void bad(const char *what, u32 n) {
  asm volatile("cli");
  say("BAD "); say(what); put(' '); number(n); put('\n');
  for (;;) asm volatile("hlt");
}

static volatile u32 ticks;
static u64 last_tsc;
void faulted(void) { bad("fault", 0); }
void tick(void) {
  u64 now = rdtsc();
  if (now < last_tsc) bad("tsc", ticks);
  last_tsc = now;
  ticks++;
  outb(0x20, 0x20);
}

static u64 gdt[] = { 0, 0x00cf9a000000ffffULL, 0x00cf92000000ffffULL };
static struct { u16 low, selector, flags, high; } idt[256];
struct __attribute__((packed)) table { u16 limit; u32 base; };

static void gate(int n, void (*f)(void)) {
  idt[n].low = (u32)f; idt[n].selector = 8; idt[n].flags = 0x8e00; idt[n].high = (u32)f >> 16;
}

#define WORDS 8192
#define AREAS 64
static u32 memory[AREAS][WORDS];
static u32 mix(u32 a, u32 i) { a ^= i * 2654435761u; a ^= a >> 15; return a * 2246822519u; }

static double vectors[2] __attribute__((aligned(16)));

void guest(void) {
  struct table g = { sizeof gdt - 1, (u32)gdt }, i = { sizeof idt - 1, (u32)idt };
  asm volatile("lgdt %0\n ljmp $8, $1f\n 1: mov %1, %%ds\n mov %1, %%es\n mov %1, %%ss\n mov %1, %%fs\n mov %1, %%gs" ::"m"(g), "r"(16));
  for (int n = 0; n < 256; n++) gate(n, fault);
  gate(0x20, irq0);
  asm volatile("lidt %0" ::"m"(i));
  /* 8259s to 20h and 28h, IRQ0 alone; 8254 at 100 Hz. */
  outb(0x20, 0x11); outb(0xa0, 0x11); outb(0x21, 0x20); outb(0xa1, 0x28); outb(0x21, 4); outb(0xa1, 2); outb(0x21, 1); outb(0xa1, 1);
  outb(0x21, 0xfe); outb(0xa1, 0xff);
  outb(0x43, 0x34); outb(0x40, 11932 & 255); outb(0x40, 11932 >> 8);
  /* SSE on. */
  u32 cr;
  asm volatile("mov %%cr4, %0\n or $0x600, %0\n mov %0, %%cr4" : "=r"(cr));
  asm volatile("mov %%cr0, %0\n and $~4, %0\n or $2, %0\n mov %0, %%cr0\n fninit" : "=r"(cr));
  asm volatile("sti");
  u64 t0 = rdtsc();
  for (u32 round = 0;; round++) {
    u32 area = round % AREAS;
    /* What was written AREAS rounds ago is still there. */
    if (round >= AREAS)
      for (u32 w = 0; w < WORDS; w++) if (memory[area][w] != mix(round - AREAS, w)) bad("memory", w);
    double half = 0;
    for (u32 w = 0; w < WORDS; w++) { memory[area][w] = mix(round, w); half += 0.5; }
    if (half != WORDS / 2) bad("x87", round);
    for (u32 w = 0; w < WORDS; w++) if (memory[area][w] != mix(round, w)) bad("store", w);
    /* A value that lives in XMM5 across the round. */
    if (round) { asm volatile("movapd %%xmm5, %0" : "=m"(vectors)); if (vectors[0] != round || vectors[1] != round + 0.25) bad("sse", round); }
    vectors[0] = round + 1; vectors[1] = round + 1.25;
    asm volatile("movapd %0, %%xmm5" ::"m"(vectors));
    u64 now = rdtsc();
    if (now < t0) bad("tsc", round);
    t0 = now;
    say("R "); number(round); put(' '); number(ticks); put('\n');
  }
}
