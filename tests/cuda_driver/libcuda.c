/* A stand-in for NVIDIA's driver, libcuda.so.1, on a machine without a GPU.

   numba-cuda and cuda.core run on it as they are. It answers all that a host sees of a driver:
   device memory, which is the host's; copies, streams, events, captures and graphs. A launch runs
   nothing. Every binary that is loaded, every launch and every replay of a graph is a line in the
   file that FASTMLP_DRIVER_LOG names. A function that it does not have is not found, as in an old
   driver. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uintptr_t word;

static void say(const char *what, const char *more) {
    static FILE *out;
    const char *path = getenv("FASTMLP_DRIVER_LOG");
    if (!out) out = fopen(path ? path : "/dev/null", "a");
    fprintf(out, "%s %s\n", what, more);
    fflush(out);
}

/* Calls that have nothing to answer, and calls that give a handle. */
static int fine(void) { return 0; }
static int handle(word *p) {
    static word next = 0x1000;
    *p = next += 0x10;
    return 0;
}

/* ---- the device: capability 9.0, and numbers that limit nothing -------------------------------- */

enum { WARP = 10, MULTIPROCESSORS = 16, UNIFIED = 41, MAJOR = 75, MINOR = 76 };

static int attribute(int *value, int which, int device) {
    switch (which) {
    case MAJOR: *value = 9; break;
    case MINOR: *value = 0; break;
    case MULTIPROCESSORS: *value = 132; break;
    case WARP: *value = 32; break;
    case UNIFIED: *value = 1; break;
    default: *value = 1024;
    }
    return 0;
}
static int version(int *v) { *v = 13000; return 0; }
static int count(int *n) { *n = 1; return 0; }
static int device(int *d, int n) { *d = n; return n ? 101 : 0; }
static int name(char *text, int length, int d) { snprintf(text, length, "stand-in"); return 0; }
static int uuid(char *bytes, int d) { memset(bytes, 7, 16); return 0; }

/* ---- contexts: a stack for each thread --------------------------------------------------------- */

static const word CONTEXT = 0x77;
static __thread word stack[64];
static __thread int depth;

static int retain(word *c, int d) { *c = CONTEXT; return 0; }
static int get_current(word *c) { *c = depth ? stack[depth - 1] : 0; return 0; }
static int push_current(word c) { stack[depth++] = c; return 0; }
static int set_current(word c) { if (depth) depth--; return push_current(c); }
static int pop_current(word *c) { get_current(c); if (depth) depth--; return 0; }
static int context_device(int *d) { *d = 0; return depth ? 0 : 201; }
static int priorities(int *least, int *most) { *least = 0; *most = -5; return 0; }

/* ---- memory, new with every bit set ------------------------------------------------------------ */

static int memory_info(size_t *available, size_t *total) {
    *available = (size_t)8 << 30;
    *total = (size_t)16 << 30;
    return 0;
}
static int allocate(word *p, size_t n) {
    void *made = aligned_alloc(256, (n + 255) / 256 * 256);
    if (!made) return 2;
    memset(made, 0xFF, n);
    *p = (word)made;
    return 0;
}
static int host_allocate(word *p, size_t n, unsigned flags) { return allocate(p, n); }
static int release(word p) { free((void *)p); return 0; }
static int copy(word to, word from, size_t n) { memcpy((void *)to, (void *)from, n); return 0; }
static int copy_async(word to, word from, size_t n, word s) { return copy(to, from, n); }
static int fill(word p, unsigned char v, size_t n) { memset((void *)p, v, n); return 0; }
static int address_range(word *base, size_t *n, word p) {
    if (base) *base = p;
    if (n) *n = (size_t)1 << 40;
    return 0;
}

/* ---- binaries and launches --------------------------------------------------------------------- */

static int capturing, recorded;

static int load_binary(word *library, const void *code, void *a, void *b, unsigned n, void *c, void *d, unsigned m) {
    if (memcmp(code, "\x7f" "ELF", 4)) return 200;
    say("load", "");
    return handle(library);
}
static int get_kernel(word *kernel, word library, const char *text) {
    say("kernel", text);
    *kernel = (word)strdup(text);
    return 0;
}
static int get_function(word *function, word kernel) { *function = kernel; return 0; }

struct config { unsigned grid[3], block[3], shared; word stream; void *attributes; unsigned n; };

static int launch(const struct config *c, word kernel, void **words, void **extra) {
    char text[512];
    snprintf(text, sizeof text, "%u,%u,%u %u %.300s%s", c->grid[0], c->grid[1], c->grid[2],
             c->block[0], (char *)kernel, capturing ? " captured" : "");
    recorded += capturing;
    say("launch", text);
    return 0;
}
static int launch_kernel(word kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, word s, void **words, void **extra) {
    struct config c = {{gx, gy, gz}, {bx, by, bz}, shared, s, 0, 0};
    return launch(&c, kernel, words, extra);
}

/* ---- captures and graphs ----------------------------------------------------------------------- */

static int begin_capture(word s, int mode) { capturing = 1; recorded = 0; return 0; }
static int end_capture(word s, word *graph) {
    char text[32];
    snprintf(text, sizeof text, "%d", recorded);
    say("graph", text);
    capturing = 0;
    return handle(graph);
}
static int is_capturing(word s, int *status) { *status = capturing; return 0; }
static int capture_info(word s, int *status, uint64_t *id, word *graph, word *on, word *edges, size_t *n) {
    *status = capturing;
    if (id) *id = 1;
    if (graph) *graph = 0x55;
    if (on) *on = 0;
    if (edges) *edges = 0;
    if (n) *n = 0;
    return 0;
}
static int graph_launch(word exec, word s) { say("replay", ""); return 0; }
static int elapsed(float *ms, word a, word b) { *ms = 1; return 0; }
static int error_text(int code, const char **text) { *text = "error of the stand-in"; return 0; }

static const struct { const char *name; void *call; } TABLE[] = {
    {"cuInit", fine}, {"cuDriverGetVersion", version}, {"cuDeviceGetCount", count},
    {"cuDeviceGet", device}, {"cuDeviceGetName", name}, {"cuDeviceGetUuid", uuid},
    {"cuDeviceGetAttribute", attribute}, {"cuDevicePrimaryCtxRetain", retain},
    {"cuDevicePrimaryCtxRelease", fine}, {"cuCtxGetCurrent", get_current},
    {"cuCtxSetCurrent", set_current}, {"cuCtxPushCurrent", push_current},
    {"cuCtxPopCurrent", pop_current}, {"cuCtxGetDevice", context_device},
    {"cuCtxGetStreamPriorityRange", priorities}, {"cuCtxSynchronize", fine},
    {"cuMemGetInfo", memory_info}, {"cuMemAlloc", allocate}, {"cuMemFree", release},
    {"cuMemAllocHost", allocate}, {"cuMemHostAlloc", host_allocate}, {"cuMemFreeHost", release},
    {"cuMemcpyHtoD", copy}, {"cuMemcpyDtoH", copy}, {"cuMemcpyDtoD", copy},
    {"cuMemcpyHtoDAsync", copy_async}, {"cuMemcpyDtoHAsync", copy_async},
    {"cuMemcpyDtoDAsync", copy_async}, {"cuMemcpyAsync", copy_async}, {"cuMemsetD8", fill},
    {"cuMemGetAddressRange", address_range}, {"cuStreamCreate", handle},
    {"cuStreamCreateWithPriority", handle}, {"cuStreamDestroy", fine},
    {"cuStreamSynchronize", fine}, {"cuStreamWaitEvent", fine},
    {"cuStreamBeginCapture", begin_capture}, {"cuStreamEndCapture", end_capture},
    {"cuStreamIsCapturing", is_capturing}, {"cuStreamGetCaptureInfo", capture_info},
    {"cuEventCreate", handle}, {"cuEventDestroy", fine}, {"cuEventRecord", fine},
    {"cuEventSynchronize", fine}, {"cuEventQuery", fine}, {"cuEventElapsedTime", elapsed},
    {"cuLibraryLoadData", load_binary}, {"cuLibraryUnload", fine},
    {"cuLibraryGetKernel", get_kernel}, {"cuKernelGetFunction", get_function},
    {"cuLaunchKernelEx", launch}, {"cuLaunchKernel", launch_kernel},
    {"cuGraphInstantiate", handle}, {"cuGraphInstantiateWithParams", handle},
    {"cuGraphLaunch", graph_launch}, {"cuGraphUpload", fine}, {"cuGraphDestroy", fine},
    {"cuGraphExecDestroy", fine}, {"cuUserObjectCreate", handle}, {"cuUserObjectRelease", fine},
    {"cuGraphRetainUserObject", fine}, {"cuGraphReleaseUserObject", fine},
    {"cuGetErrorName", error_text}, {"cuGetErrorString", error_text},
};

int cuGetProcAddress_v2(const char *symbol, void **call, int v, uint64_t flags, int *status) {
    *call = 0;
    if (!strcmp(symbol, "cuGetProcAddress")) *call = cuGetProcAddress_v2;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (!strcmp(symbol, TABLE[i].name)) *call = TABLE[i].call;
    if (status) *status = !*call;
    return 0;
}
int cuInit(unsigned flags) { return 0; }
