// Runs beats through the array and notes when each was taken and each came out.
#include <cstdint>
#include <memory>

#include "Vpot_array.h"
#include "verilated.h"

// in: per beat four words and the mask of TLAST. out: per beat four words and TLAST. Gaps and stalls, of 256, are how
// often a beat is not offered and a result not taken. Stops when all is taken and nothing came for `quiet` cycles.
// Returns the results, or -1 if not all was taken in `limit` cycles, -2 if an assertion failed.
extern "C" uint64_t array_run(uint64_t count, const uint32_t* in, uint64_t room, uint32_t* out, uint64_t* taken_at,
                              uint64_t* given_at, uint32_t gaps, uint32_t stalls, uint64_t quiet, uint64_t limit,
                              uint32_t* status) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vpot_array>(context.get());
    context->fatalOnError(false);  // a failed assertion is to end the run, not the process
    top->rst_ni = 0;
    top->clk_i = 0;
    top->valid_i = 0;
    top->ready_i = 0;
    top->eval();
    top->clk_i = 1;
    top->eval();
    top->rst_ni = 1;
    uint64_t taken = 0, given = 0, cycle = 0, last = 0, random = 1;
    bool offered = false;
    while (cycle < limit && !context->gotError() && (taken < count || cycle < last + quiet)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        top->clk_i = 0;
        offered = taken < count && (offered || (random >> 33) % 256 >= gaps);
        top->valid_i = offered;
        top->ready_i = (random >> 45) % 256 >= stalls;
        if (offered) {
            for (int s = 0; s < 4; s++) top->beat_i[s] = in[5 * taken + s];
            top->last_i = in[5 * taken + 4];
        }
        top->eval();
        if (top->valid_o && top->ready_i) {
            if (given == room) break;
            for (int s = 0; s < 4; s++) out[5 * given + s] = top->beat_o[s];
            out[5 * given + 4] = top->last_o;
            given_at[given++] = last = cycle;
        }
        if (top->valid_i && top->ready_o) {
            taken_at[taken++] = last = cycle;
            offered = false;
        }
        top->clk_i = 1;
        top->eval();
        cycle++;
    }
    *status = top->status_o;
    if (context->gotError()) return UINT64_MAX - 1;
    return taken == count ? given : UINT64_MAX;
}
