/* The loops around the tiles, the same for AVX2 and AVX-512: see linear_tiles.h. Of the including file they use, beside
 * what stands there, widen_as, columns_of(layer, panel, panels), INT8_UNIT (inputs per code), and the tables of tiles
 * SINGLE and PAIRED (by format and rows; NULL where a panel is rather widened once), INT8_SINGLE and INT8_PAIRED.
 */

static ISA void widen(const Linear *l, const char *panel, const float *group_scale, int begin, int end, float *to) {
    switch (l->format) {
    case LINEAR_FP16: widen_as(LINEAR_FP16, l, panel, group_scale, begin, end, to); break;
    case LINEAR_BF16: widen_as(LINEAR_BF16, l, panel, group_scale, begin, end, to); break;
    case LINEAR_W8A16: widen_as(LINEAR_W8A16, l, panel, group_scale, begin, end, to); break;
    case LINEAR_W4A16: widen_as(LINEAR_W4A16, l, panel, group_scale, begin, end, to); break;
    default: widen_as(LINEAR_FP8, l, panel, group_scale, begin, end, to);
    }
}

static ISA void run_float(const Linear *l, const float *x, size_t ldx, int m, float *y, size_t ldy, int from, int to) {
    const size_t panel_bytes = l->format == LINEAR_W4A16
                                   ? (size_t)l->k_padded / 8 * WIDTH * 4
                                   : (size_t)l->k_padded * WIDTH * element_bytes(l->format);
    const size_t group_scale_panel = (size_t)l->k_padded / l->group * WIDTH;
    const int by_group = l->format == LINEAR_W4A16;
    Tile t = {.panel_bytes = panel_bytes, .group_scale_panel = group_scale_panel, .group = l->group, .ldx = ldx,
              .ldy = ldy, .first = 1, .last = 1, .scale = ONES};
    if (m <= ROWS && SINGLE[l->format][m]) {
        t.x = x;
        t.k = l->k;
        for (int panel = from; panel < to;) {
            int pair = m <= PAIRED_ROWS && panel + 1 < to;
            t.weights = (const char *)l->data + panel * panel_bytes;
            t.ahead = t.weights + PREFETCH;
            t.ahead_bytes = (size_t)WIDTH * element_bytes(l->format);
            t.group_scale = l->scale + panel * group_scale_panel;
            if (!by_group) t.scale = l->scale + panel * WIDTH;
            t.bias = l->bias + panel * WIDTH;
            t.y = y + panel * WIDTH;
            t.columns = columns_of(l, panel, 1 + pair);
            (pair ? PAIRED[l->format][m] : SINGLE[l->format][m])(&t);
            panel += 1 + pair;
        }
        return;
    }
    float block[BLOCK_K * WIDTH] __attribute__((aligned(64)));
    const int group = BLOCK_N / WIDTH;
    const size_t input_bytes = panel_bytes / l->k_padded;
    for (int row = 0; row < m; row += BLOCK_M) {
        int rows = least(BLOCK_M, m - row), tiles = parts(rows, ROWS);
        t.ahead_bytes = input_bytes / tiles;
        for (int left = from; left < to; left += group) {
            int right = least(to, left + group);
            for (int begin = 0; begin < l->k; begin += BLOCK_K) {
                int end = least(l->k, begin + BLOCK_K);
                t.k = end - begin;
                t.first = begin == 0;
                t.last = end == l->k;
                for (int panel = left; panel < right; panel++) {
                    const char *weights = (const char *)l->data + panel * panel_bytes;
                    const char *ahead = panel + 1 < right ? weights + panel_bytes + begin * input_bytes
                                                          : (const char *)l->data + left * panel_bytes + end * input_bytes;
                    if (l->format == LINEAR_FP32) {
                        t.weights = weights + begin * input_bytes;
                    } else {
                        widen(l, weights, l->scale + panel * group_scale_panel, begin, end, block);
                        t.weights = (const char *)block;
                    }
                    if (!by_group) t.scale = l->scale + panel * WIDTH;
                    t.bias = l->bias + panel * WIDTH;
                    t.columns = columns_of(l, panel, 1);
                    for (int i = 0, r = row; i < tiles; i++) { /* even tiles: a lone row would cost a whole pass */
                        int count = (rows + tiles - 1 - i) / tiles;
                        t.x = x + r * ldx + begin;
                        t.y = y + r * ldy + panel * WIDTH;
                        t.ahead = ahead + i * t.ahead_bytes * t.k;
                        SINGLE[LINEAR_FP32][count](&t);
                        r += count;
                    }
                }
            }
        }
    }
}

static ISA void run_int8(const Linear *l, const char *scratch, int m, float *y, size_t ldy, int from, int to) {
    const size_t panel_bytes = (size_t)l->k_padded * WIDTH, stride = linear_stride(l);
    Int8Tile t = {.panel_bytes = panel_bytes, .stride = stride, .k = l->k, .ldy = ldy};
    for (int row = 0; row < m; row += BLOCK_M) {
        int rows = least(BLOCK_M, m - row), tiles = parts(rows, ROWS);
        for (int panel = from; panel < to;) {
            int pair = rows <= PAIRED_ROWS && panel + 1 < to;
            t.weights = (const char *)l->data + panel * panel_bytes;
            t.offset = l->offset + panel * WIDTH;
            t.scale = l->scale + panel * WIDTH;
            t.bias = l->bias + panel * WIDTH;
            t.columns = columns_of(l, panel, 1 + pair);
            for (int i = 0, r = row; i < tiles; i++) {
                int count = (rows + tiles - 1 - i) / tiles;
                t.scratch = scratch + r * stride;
                t.y = y + r * ldy + panel * WIDTH;
                t.ahead_bytes = WIDTH * INT8_UNIT / tiles;
                t.ahead = t.weights + (tiles == 1 ? PREFETCH : panel_bytes + i * (panel_bytes / tiles));
                (pair ? INT8_PAIRED : INT8_SINGLE)[count](&t);
                r += count;
            }
            panel += 1 + pair;
        }
    }
}

static void run(const Linear *l, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end) {
    int from = n_begin / WIDTH, to = parts(n_end, WIDTH);
    if (l->format == LINEAR_INT8) run_int8(l, scratch, m, y, ldy, from, to);
    else if (l->format == LINEAR_BF16)
        run_float(l, (const float *)((const char *)scratch + ROW_HEADER), linear_stride(l) / sizeof(float), m, y, ldy,
                  from, to);
    else run_float(l, x, ldx, m, y, ldy, from, to);
}
