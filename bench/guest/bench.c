/*
 * Guest micro-benchmarks. Each workload does a known number of units a round; rounds are repeated for the time given, and
 * the speed is printed as "BENCH name units-per-second".
 *
 *   bench [seconds [name]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Results go here, so that no work is optimised away. */
static volatile uint64_t checksum;

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- integer --- */

enum { SIEVE = 1 << 16 };
static unsigned char composite[SIEVE];

static void primes(void)
{
	memset(composite, 0, sizeof composite);
	unsigned count = 0;
	for (unsigned n = 2; n < SIEVE; n++) {
		if (composite[n])
			continue;
		count++;
		for (unsigned m = 2 * n; m < SIEVE; m += n)
			composite[m] = 1;
	}
	checksum += count;
}

static uint32_t crc_table[256];
static unsigned char crc_input[1 << 16];

static void crc_prepare(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t c = n;
		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ (c & 1 ? 0xedb88320u : 0);
		crc_table[n] = c;
	}
	for (size_t i = 0; i < sizeof crc_input; i++)
		crc_input[i] = (unsigned char)(i * 7);
}

static void crc(void)
{
	uint32_t c = 0xffffffffu;
	for (size_t i = 0; i < sizeof crc_input; i++)
		c = crc_table[(c ^ crc_input[i]) & 0xff] ^ (c >> 8);
	checksum += ~c;
}

static __attribute__((noinline)) uint64_t fibonacci(unsigned n)
{
	if (n < 2)
		return n;
	return fibonacci(n - 1) + fibonacci(n - 2);
}

static void fib(void)
{
	checksum += fibonacci(22);
}

static void mix64(void)
{
	uint64_t x = checksum | 1;
	for (int i = 0; i < 100000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		x *= 0x9e3779b97f4a7c15ull;
	}
	checksum += x;
}

static void divide(void)
{
	uint32_t x = (uint32_t)checksum | 1, sum = 0;
	for (uint32_t i = 1; i <= 100000; i++) {
		sum += (x + i) / (i | 1);
		sum ^= (x + i) % ((i & 0x3ff) + 1);
	}
	checksum += sum;
}

static int ascending(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

enum { SORTED = 20000 };

static void sort(void)
{
	static int numbers[SORTED];
	uint32_t seed = 1;
	for (int i = 0; i < SORTED; i++)
		numbers[i] = (int)(seed = seed * 1664525u + 1013904223u);
	qsort(numbers, SORTED, sizeof numbers[0], ascending);
	checksum += (uint64_t)numbers[SORTED / 2];
}

/* A bytecode interpreter: its switch is an indirect jump. */
static void interpret(void)
{
	enum op { ADD, XOR, MUL, SUB, SHIFT, AGAIN };
	static const unsigned char program[] = { ADD, XOR, MUL, SUB, SHIFT, MUL, XOR, ADD, SUB, AGAIN };
	int acc = 1;
	const unsigned char *pc = program;
	for (int n = 1; n <= 100000; n++) {
		switch ((enum op)*pc++) {
		case ADD: acc += 3; break;
		case XOR: acc ^= n; break;
		case MUL: acc = (int)((unsigned)acc * 5u); break;
		case SUB: acc -= n; break;
		case SHIFT: acc >>= 1; break;
		case AGAIN: pc = program; break;
		}
	}
	checksum += (uint64_t)acc;
}

/* --- memory --- */

enum { CHAIN = 1 << 20 };

/* A random cycle through 4 MiB (Sattolo's algorithm). */
static void chase(void)
{
	static uint32_t *next, at;
	if (!next) {
		uint32_t seed = 1;
		next = malloc(CHAIN * sizeof *next);
		if (!next)
			exit(1);
		for (uint32_t i = 0; i < CHAIN; i++)
			next[i] = i;
		for (uint32_t i = CHAIN - 1; i > 0; i--) {
			seed = seed * 1664525u + 1013904223u;
			uint32_t j = seed % i, t = next[i];
			next[i] = next[j];
			next[j] = t;
		}
	}
	uint32_t p = at;
	for (int i = 0; i < 100000; i++)
		p = next[p];
	at = p;
	checksum += p;
}

static char from[1 << 20], to[1 << 20];

static void copy(void)
{
	memcpy(to, from, sizeof to);
	checksum += (unsigned char)to[5];
	from[checksum & 0xfffff]++;
}

static void length(void)
{
	memset(from, 'A', sizeof from - 1);
	from[sizeof from - 1] = 0;
	checksum += strlen(from);
}

/* --- floating point: five bodies and a spring --- */

struct body { double x[3], v[3], mass; };

static void bodies(void)
{
	static struct body b[5] = {
		{ { 0, 0, 0 }, { 0, 0, 0 }, 39 },	    { { 4.8, -1.1, -0.1 }, { 0.6, 2.8, -0.02 }, 0.03 },
		{ { 8.3, 4.1, -0.4 }, { -1, 1.8, 0.01 }, 0.01 }, { { 12, -15, -0.2 }, { 1, 0.8, -0.01 }, 0.002 },
		{ { 15, -25, 0.1 }, { 0.9, 0.5, -0.03 }, 0.002 },
	};
	for (int step = 0; step < 1000; step++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], r2 = 0.01;
				for (int k = 0; k < 3; k++) {
					d[k] = b[i].x[k] - b[j].x[k];
					r2 += d[k] * d[k];
				}
				double pull = 1e-4 / (r2 * sqrt(r2));
				for (int k = 0; k < 3; k++) {
					b[i].v[k] -= d[k] * b[j].mass * pull;
					b[j].v[k] += d[k] * b[i].mass * pull;
				}
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				b[i].x[k] += 1e-4 * b[i].v[k];
	}
	checksum += (uint64_t)(int64_t)(b[0].x[0] * 1000);
}

/* --- the kernel --- */

static void system_calls(void)
{
	for (int i = 0; i < 1000; i++)
		checksum += (uint64_t)syscall(SYS_getppid);
}

static void processes(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
}

static int to_partner[2], from_partner[2];
static pid_t partner;

static void start_partner(void)
{
	if (pipe(to_partner) || pipe(from_partner))
		exit(1);
	partner = fork();
	if (partner)
		return;
	char c;
	while (read(to_partner[0], &c, 1) == 1)
		if (write(from_partner[1], &c, 1) != 1)
			break;
	_exit(0);
}

static void ping_pong(void)
{
	for (int i = 0; i < 100; i++) {
		char c = 1;
		if (write(to_partner[1], &c, 1) != 1 || read(from_partner[0], &c, 1) != 1)
			exit(1);
	}
}

static void page_faults(void)
{
	char *m = mmap(NULL, 256 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		exit(1);
	for (int i = 0; i < 256; i++)
		m[i * 4096] = 1;
	munmap(m, 256 * 4096);
}

static const struct workload {
	const char *name;
	unsigned units;
	void (*round)(void);
} workloads[] = {
	{ "sieve", SIEVE, primes },	    { "crc32", 1 << 16, crc },	    { "fib", 1, fib },
	{ "nbody", 1000, bodies },	    { "qsort", SORTED, sort },	    { "u64mix", 100000, mix64 },
	{ "div", 100000, divide },	    { "chase4M", 100000, chase },   { "interp", 100000, interpret },
	{ "memcpy1M", 1, copy },	    { "strlen", 1, length },	    { "getppid", 1000, system_calls },
	{ "forkwait", 1, processes },	    { "pipepp", 100, ping_pong },   { "pgfault", 256, page_faults },
};

int main(int argc, char **argv)
{
	double limit = argc > 1 ? atof(argv[1]) : 1;
	const char *only = argc > 2 ? argv[2] : NULL;
	crc_prepare();
	for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
		const struct workload *w = &workloads[i];
		if (only && strcmp(only, w->name))
			continue;
		if (w->round == ping_pong)
			start_partner();
		uint64_t units = 0;
		double start = seconds(), passed;
		do {
			w->round();
			units += w->units;
			passed = seconds() - start;
		} while (passed < limit);
		printf("BENCH %s %.0f\n", w->name, (double)units / passed);
		fflush(stdout);
	}
	if (partner > 0) {
		kill(partner, SIGKILL);
		waitpid(partner, NULL, 0);
	}
	return 0;
}
