/* A DSSI synth that fails on demand: its first control chooses how. Structures as in the public
 * headers ladspa.h and dssi.h. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>

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

static void *instantiate(const void *d, unsigned long rate) {
    Voice *v = calloc(1, sizeof *v);
    v->rate = (double)rate;
    played++;
    return v;
}
static void connect(void *h, unsigned long i, float *p) { ((Voice *)h)->port[i] = p; }
static void cleanup(void *h) { free(h); }
static void run_synth(void *h, unsigned long n, void *events, unsigned long count) {
    Voice *v = h;
    volatile int forever = 1;
    int fault = (int)*v->port[1];
    if (fault == 1) raise(SIGSEGV);
    while (fault == 2 && forever) {}
    for (unsigned long i = 0; i < n; i++) {
        v->port[0][i] = fault == 3 ? NAN : fault == 4 ? 0 : (float)(0.5 * sin(v->phase));
        if (fault == 5) v->port[0][i] *= 1.0f / (float)played;
        v->phase += 6.283185307179586 * *v->port[2] / v->rate;
    }
}

static const int kinds[] = {10, 5, 5, 5};
static const char *const names[] = {"out", "fault", "frequency", "level"};
static const Hint hints[] = {{0, 0, 0}, {0x223, 0, 5}, {0x93, 50, 5000}, {0x1, 0, 0}};
static const Ladspa ladspa = {1, "faulty", 0, "Faulty", "tests", "none", 4, kinds, names, hints,
    0, instantiate, connect, 0, 0, 0, 0, 0, cleanup};
static const Dssi dssi = {1, &ladspa, 0, 0, 0, 0, run_synth, 0, 0, 0};
const Dssi *dssi_descriptor(unsigned long i) { return i ? 0 : &dssi; }
