/* The whole decoder (Llama, Mistral, Qwen2, Qwen3, Qwen3-MoE) over a paged cache, one call per step, on threads of its own.
 *
 * Contract
 *  - A step computes spans: consecutive tokens of sequences. All keys and values of a step are written before any is
 *    read; a token sees the positions up to its own, through the block table of its span.
 *  - Row-invariant: the bits of a token depend on its own sequence alone, not on what else is in the step, on how the
 *    sequence was cut into spans, on which physical blocks hold it, on blocks shared with others, or on the number of
 *    threads. They do depend on the instruction set.
 *  - Between steps the threads sleep. A thread that the system keeps waiting holds nobody up, unless it was in the
 *    middle of a piece of work: work is handed out by tickets, and a phase is over when its work is done.
 *  - One step at a time per stack. After a fork the child calls stack_start_threads before anything else.
 */
#ifndef PODIUM_STACK_H
#define PODIUM_STACK_H

#include "draw.h"
#include "linear.h"

#define BLOCK 32         /* positions per cache block */
#define MAX_HEAD_DIM 256

typedef struct {
    int layers, hidden, inner, heads, kv_heads, head_dim, vocabulary;
    int qk_norm;       /* queries and keys are normalised per head */
    int half_cache;    /* keys and values are stored in fp16, else in fp32 */
    int half_embedding;
    float eps;
    int experts, active, expert_inner; /* of layers that are mixtures of experts: a row visits `active` of `experts` */
    int normalised;                    /* the weights of the visited experts add up to 1 */
} StackShape;

typedef enum { STACK_QKV = 0, STACK_OUTPUT, STACK_GATE_UP, STACK_DOWN, STACK_HEAD /* of layer 0 */, STACK_ROUTER } StackPart;

typedef enum { STACK_ATTENTION_NORM = 0, STACK_MLP_NORM, STACK_QUERY_NORM, STACK_KEY_NORM, STACK_LAST_NORM } StackNorm;

typedef enum {
    STACK_DONE = 0,
    STACK_NO_MEMORY = -1,
    STACK_BAD_TOKEN = -2,   /* outside the vocabulary */
    STACK_BAD_BLOCK = -3,   /* outside the pool, or the table does not cover the span */
    STACK_BAD_POSITION = -4 /* beyond the angles that were given */
} StackResult;

typedef struct Stack Stack;

/* NULL when memory is short. */
Stack *stack_new(const StackShape *shape);
void stack_free(Stack *);

/* The matrices, to be packed by the caller with linear.h. Rows of q and k hold the two halves of a head that rotate
 * against each other one after the other; STACK_GATE_UP holds 16 rows of gate, 16 of up, 16 of gate ..., both filled up
 * with zeros to a multiple of 16. Freed with the stack. */
Linear *stack_linear(Stack *, StackPart part, int layer);
/* The same of one expert (STACK_GATE_UP, STACK_DOWN) of a layer that has a STACK_ROUTER, a LINEAR_F32 that scores them.
 * NULL when memory is short. */
Linear *stack_expert(Stack *, StackPart part, int layer, int expert);
/* What is below stays the caller's memory and must outlive the stack. Norms are fp32. */
void stack_set_norm(Stack *, StackNorm norm, int layer, const float *weight);
/* How many positions a token sees in a layer, its own among them; 0, as at first: all up to its own. */
void stack_set_window(Stack *, int layer, int window);
void stack_set_embedding(Stack *, const void *table); /* [vocabulary, hidden], fp16 or fp32 */
/* Layers below the last whose outputs stand behind the last state, in this order. */
void stack_set_taps(Stack *, int count, const int *layers);
void stack_set_angles(Stack *, const float *cosine, const float *sine, int positions); /* [positions, head_dim / 2] */
/* Gives memory that held unpacked weights back to the system, which the C library may keep otherwise. */
void stack_packed(void);
void stack_set_pool(Stack *, void *pool, int blocks); /* zeroed, stack_block_bytes each, 64-byte aligned */
size_t stack_block_bytes(const Stack *);
void stack_copy_block(Stack *, int source, int target);

/* The calling thread and `threads` - 1 others. */
int stack_start_threads(Stack *, int threads);

typedef struct {
    int spans;
    const int32_t *tokens;  /* of all spans, one after the other */
    const int32_t *starts;  /* [spans] position of the first token */
    const int32_t *counts;  /* [spans] tokens */
    const int32_t *wanted;  /* [spans] how many of the last tokens get logits */
    const int32_t *lengths; /* [spans] blocks in the table */
    const int32_t *blocks;  /* tables, one after the other */
} StackStep;

/* Fills logits [W, vocabulary] and states [W, (1 + taps) * hidden] (after the last norm; outputs of the tapped layers).
 * Returns a StackResult; nothing was computed unless it is STACK_DONE. */
int stack_step(Stack *, const StackStep *step, float *logits, float *states);

typedef struct {
    int rows, parts;
    const int32_t *part;  /* [parts + 1] rows [part[i], part[i + 1]) belong to one completion: drawn one after the other … */
    const int32_t *guess; /* [rows] … for as long as the token is the one guessed; rows behind another one get -1 */
    const int32_t *row;   /* [rows] which row of the logits */
    const DrawAsk *ask; /* [rows] */
    const float *logits, *plain; /* [., vocabulary]: see draw_row */
    int32_t *token;     /* [rows], filled */
    float *logprob, *logsum; /* [rows], filled */
} StackDraw;

/* Draws from rows of logits, on the same threads. STACK_DONE or STACK_NO_MEMORY. */
int stack_draw(Stack *, const StackDraw *draw);

/* For others that work on rows: the passes of draw.h, and out = gate / (1 + exp(-gate)) * up; out may be gate. */
const DrawKernels *stack_draw_kernels(void);
void stack_gate(const float *gate, const float *up, int n, float *out);

/* Wall seconds of the calling thread since the start: linear layers, attention, all else. */
void stack_seconds(const Stack *, double seconds[3]);

#endif
