/* A DSSI synth that fails on demand: its first control chooses how. Structures as in the public
 * headers ladspa.h and dssi.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    FINE, SEGFAULT, HANG, NAN_SOUND, SILENCE, STATE, IGNORE_ALARM, BLOCK_SIGNALS, STOP,
    CANCEL_TIMERS, FORK_AND_DIE, FORK_AND_RETURN, FORK_AND_GO_ON, CLOSE_ERRORS, CLOSE_ALL,
    WRITE_EVERYWHERE, READ_EVERYWHERE, LOWER_LIMITS, ALLOCATE, SLEEP, KILL, EXIT, PRINT, ALARM,
    DAEMON, DAEMON_WITHOUT_HOME, END_THREAD, BECOME_ANOTHER,
    TRAP_FLOATS, SEGFAULT_AGAIN, HANG_AT_EXIT, DELETE_HOME, ROUND_UP,
    DO_NOT_WAIT, WRITE_HERE, BE_TRACED,
    MODES
};

typedef struct { int flags; float lower, upper; } Hint;
typedef struct {
    unsigned long id; const char *label; int properties; const char *name, *maker, *copyright;
    unsigned long n; const int *kinds; const char *const *names; const Hint *hints; void *impl;
    void *(*instantiate)(const void *, unsigned long);
    void (*connect)(void *, unsigned long, float *);
    void (*activate)(void *); void (*run)(void *, unsigned long); void *run_adding, *gain;
    void (*deactivate)(void *); void (*cleanup)(void *);
} Ladspa;
typedef struct {
    int api; const Ladspa *ladspa; void *configure, *program, *select, *controller;
    void (*run_synth)(void *, unsigned long, void *, unsigned long);
    void *run_synth_adding, *run_multiple, *run_multiple_adding;
} Dssi;

typedef struct { float *port[4]; double phase, rate; } Voice;
static long played; /* survives instances, not the library: what isolation must clear */

static void spin(void) { for (volatile int forever = 1; forever;) {} }

static void become_daemon(void) {
    if (fork()) return;
    if (setsid() < 0 || fork()) _exit(0);
    spin();
}

static void *wait_for_ever(void *nothing) { pause(); return nothing; }

__attribute__((constructor)) static void load(void) {
    static pthread_t thread;
    if (getenv("FAULTY_SLEEPS_AT_LOAD")) sleep(1000);
    if (getenv("FAULTY_WRITES_AT_LOAD")) fclose(fopen("notes.txt", "w"));
    if (getenv("FAULTY_HAS_THREADS")) pthread_create(&thread, 0, wait_for_ever, 0);
}

/* What the pipes of a parent that unpickled would run. */
static const char code[] = "cos\nsystem\n(S'touch $HOME/../../unpickled'\ntR.";

static void spin_again(int number) { (void)number; spin(); }

static void misbehave(int mode) {
    static const int limits[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_STACK, RLIMIT_DATA};
    struct itimerval soon = {{0, 0}, {0, 1}}, never = {{0, 0}, {0, 0}};
    struct rlimit nothing = {0, 0};
    char buffer[4096], *none[] = {0};
    sigset_t all;
    switch (mode) {
    case SEGFAULT: raise(SIGSEGV); break;
    case HANG: spin(); break;
    case IGNORE_ALARM:
        for (int i = 1; i < 32; i++) signal(i, SIG_IGN);
        spin(); break;
    case BLOCK_SIGNALS:
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, 0);
        spin(); break;
    case STOP: raise(SIGSTOP); break;
    case CANCEL_TIMERS:
        for (int i = 0; i < 3; i++) setitimer(i, &never, 0);
        spin(); break;
    case FORK_AND_DIE:
        if (fork()) _exit(0);
        spin(); break;
    case FORK_AND_RETURN: fork(); break;
    case FORK_AND_GO_ON:
        if (!fork()) spin();
        break;
    case CLOSE_ERRORS: close(2); break;
    case CLOSE_ALL:
        for (int i = 0; i < 4096; i++) close(i);
        break;
    case WRITE_EVERYWHERE:
        for (int i = 0; i < 4096; i++)
            if (write(i, code, strlen(code)) < 0) continue;
        break;
    case READ_EVERYWHERE:
        for (int i = 0; i < 4096; i++)
            if (recv(i, buffer, sizeof buffer, MSG_DONTWAIT) < 0) continue;
        break;
    case LOWER_LIMITS:
        for (int i = 0; i < 4; i++) setrlimit(limits[i], &nothing);
        break;
    case ALLOCATE:
        for (;;) *(volatile char *)malloc(1 << 20) = 1;
    case SLEEP: sleep(1000); break;
    case KILL: raise(SIGKILL); break;
    case EXIT: exit(0);
    case PRINT:
        for (;;) {
            fputs("something is wrong\n", stderr);
            puts("something is wrong");
        }
    case ALARM: setitimer(ITIMER_REAL, &soon, 0); break;
    case DAEMON: become_daemon(); break;
    case DAEMON_WITHOUT_HOME:
        if (!fork()) {
            if (setsid() < 0 || fork()) _exit(0);
            execle("/bin/sleep", "sleep", getenv("FAULTY_SLEEPS"), (char *)0, none);
        }
        spin(); break;
    case END_THREAD: pthread_exit(0);
    case TRAP_FLOATS: feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_INEXACT); break;
    case SEGFAULT_AGAIN:
        signal(SIGSEGV, spin_again);
        raise(SIGSEGV); break;
    case HANG_AT_EXIT: atexit(spin); break;
    case DELETE_HOME:
        if (system("rm -rf \"$HOME\"")) {}
        break;
    case ROUND_UP: fesetround(FE_UPWARD); break;
    case DO_NOT_WAIT:
        for (int i = 0; i < 4096; i++) fcntl(i, F_SETFL, O_NONBLOCK);
        break;
    case BE_TRACED:
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGUSR1);
        break;
    case WRITE_HERE:
        if (freopen("notes.txt", "w", stdout)) {}
        break;
    case BECOME_ANOTHER: execl("/bin/sleep", "sleep", getenv("FAULTY_SLEEPS"), (char *)0); break;
    }
}

static void *instantiate(const void *d, unsigned long rate) {
    if (getenv("FAULTY_SLEEPS_AT_START")) sleep(1000);
    Voice *v = calloc(1, sizeof *v);
    v->rate = (double)rate;
    played++;
    return v;
}
static void connect_port(void *h, unsigned long i, float *p) { ((Voice *)h)->port[i] = p; }
static void cleanup(void *h) { free(h); }
static void run_synth(void *h, unsigned long n, void *events, unsigned long count) {
    Voice *v = h;
    int fault = (int)*v->port[1];
    if (v->phase == 0) misbehave(fault);
    for (unsigned long i = 0; i < n; i++) {
        v->port[0][i] = fault == NAN_SOUND ? NAN : fault == SILENCE ? 0 : (float)(0.5 * sin(v->phase));
        if (fault == STATE) v->port[0][i] *= 1.0f / (float)played;
        v->phase += 6.283185307179586 * *v->port[2] / v->rate;
    }
}

static const int kinds[] = {10, 5, 5, 5};
static const char *names[] = {"out", "fault", "frequency", "level"};
static const Hint hints[] = {{0, 0, 0}, {0x223, 0, MODES - 1}, {0x93, 50, 5000}, {0x1, 0, 0}};
static const Ladspa ladspa = {1, "faulty", 0, "Faulty", "tests", "none", 4, kinds, names, hints,
    0, instantiate, connect_port, 0, 0, 0, 0, 0, cleanup};
static const Dssi dssi = {1, &ladspa, 0, 0, 0, 0, run_synth, 0, 0, 0};
const Dssi *dssi_descriptor(unsigned long i) {
    if (getenv("FAULTY_LACKS_A_NAME")) names[1] = 0;
    if (getenv("FAULTY_HAS_A_NAMELESS") && i < 2) {  // the first of two has no label
        static Ladspa nameless;
        static Dssi first;
        nameless = ladspa, nameless.label = "", first = dssi, first.ladspa = &nameless;
        return i ? &dssi : &first;
    }
    return i && !getenv("FAULTY_NEVER_ENDS") ? 0 : &dssi;
}
