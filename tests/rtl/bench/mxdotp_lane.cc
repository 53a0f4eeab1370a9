// Streams operations through a verilated mxdotp_lane, one a cycle, for callers that hold them in arrays.
#include <cstdint>
#include <memory>

#include "Vmxdotp_lane.h"
#include "verilated.h"

extern "C" int mxdotp_lane_run(uint64_t count, const uint64_t* a, const uint64_t* b, const uint8_t* scale_a,
                               const uint8_t* scale_b, const uint32_t* acc, const uint8_t* elem_fmt,
                               const uint8_t* acc_fmt, const uint8_t* rm, uint32_t* result, uint8_t* flags) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vmxdotp_lane>(context.get());
    top->rst_ni = 0;
    top->clk_i = 0;
    top->valid_i = 0;
    top->ready_i = 1;
    top->tag_i = 0;
    top->eval();
    top->rst_ni = 1;
    uint64_t sent = 0, received = 0;
    // A lane that swallows an operation would never end; no latency is longer than this.
    uint64_t patience = count + 1000;
    while (received < count && patience-- > 0) {
        top->clk_i = 0;
        top->valid_i = sent < count;
        if (sent < count) {
            top->a_i = a[sent];
            top->b_i = b[sent];
            top->scale_a_i = scale_a[sent];
            top->scale_b_i = scale_b[sent];
            top->acc_i = acc[sent];
            top->elem_fmt_i = elem_fmt[sent];
            top->acc_fmt_i = acc_fmt[sent];
            top->rm_i = rm[sent];
        }
        top->eval();
        if (top->valid_o) {
            result[received] = top->result_o;
            flags[received] = top->flags_o;
            received++;
        }
        sent += top->valid_i && top->ready_o;
        top->clk_i = 1;
        top->eval();
    }
    return received == count ? 0 : 1;
}
