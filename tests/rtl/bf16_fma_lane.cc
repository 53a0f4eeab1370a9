// Streams operations through a verilated bf16_fma_lane for callers that hold them in arrays.
#include <cstdint>
#include <memory>

#include "Vbf16_fma_lane.h"
#include "verilated.h"

// Four elements an operation. With a seed, the producer pauses and the consumer stalls at random; without, one
// operation enters in every cycle. The result is the number of clock cycles until the last result was taken, or
// 0 if the lane lost an operation or its tags came out of order.
extern "C" uint64_t bf16_fma_lane_run(uint64_t count, uint64_t seed, const uint64_t* a, const uint64_t* b,
                                      const uint64_t* c, const uint8_t* rm, uint64_t* result, uint32_t* flags) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vbf16_fma_lane>(context.get());
    top->rst_ni = 0;
    top->clk_i = 0;
    top->valid_i = 0;
    top->ready_i = 1;
    top->eval();
    top->rst_ni = 1;
    uint64_t sent = 0, received = 0, cycles = 0;
    bool offered = false;  // what was offered stays so until it is taken
    uint64_t random = seed;
    for (const uint64_t patience = 8 * count + 1000; received < count && cycles < patience; cycles++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        offered = sent < count && (offered || seed == 0 || (random >> 20 & 3) != 0);
        top->clk_i = 0;
        top->valid_i = offered;
        top->ready_i = seed == 0 || (random >> 40 & 1) != 0;
        if (offered) {
            top->a_i = a[sent];
            top->b_i = b[sent];
            top->c_i = c[sent];
            top->rm_i = rm[sent];
            top->tag_i = sent & 15;
        }
        top->eval();
        if (top->valid_o && top->ready_i) {
            if (top->tag_o != (received & 15)) return 0;
            result[received] = top->result_o;
            flags[received] = top->flags_o;
            received++;
        }
        if (offered && top->ready_o) {
            offered = false;
            sent++;
        }
        top->clk_i = 1;
        top->eval();
    }
    return received == count ? cycles : 0;
}
