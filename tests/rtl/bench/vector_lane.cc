// Streams operations through a verilated vector_lane for callers that hold them in arrays.
#include <cstdint>
#include <memory>
#include <vector>

#include "Vvector_lane.h"
#include "verilated.h"

struct Operation {
    uint64_t a, b, c;
    uint32_t op;  // the bits of vector_op_t
    uint8_t sew, rm, vxrm, e5m2, mask, active, pause, pad;  // pause: cycles before it is offered
};

struct Outcome {
    uint64_t value;
    uint32_t flags, saturated, taken, given;  // cycles in which it was taken and its result was
};

static constexpr uint64_t TAGS = 1 << 8;  // more than a lane holds

// With a seed the consumer stalls at random; without, an operation is offered as soon as its pause is over. The result
// is the number of clock cycles until the last result was taken; 0 if the lane lost an operation, gave one twice, or
// changed their order within a datapath (`path` of each).
extern "C" uint64_t vector_lane_run(uint64_t count, uint64_t seed, const Operation* operations, const uint8_t* path,
                                    Outcome* outcomes) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vvector_lane>(context.get());
    top->rst_ni = 0;
    top->clk_i = 0;
    top->valid_i = 0;
    top->ready_i = 1;
    top->eval();
    top->rst_ni = 1;
    std::vector<int64_t> inside(TAGS, -1);
    int64_t last[256];
    for (auto& each : last) each = -1;
    uint64_t sent = 0, received = 0, cycle = 0, random = seed, quiet = 0;
    unsigned pause = 0;
    for (; received < count && quiet < 5000; cycle++, quiet++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        top->clk_i = 0;
        top->ready_i = seed == 0 || (random >> 40 & 1) != 0;
        const bool offered = sent < count && pause >= operations[sent].pause && inside[sent % TAGS] < 0;
        pause++;
        top->valid_i = offered;
        if (offered) {
            const Operation& of = operations[sent];
            top->a_i = of.a, top->b_i = of.b, top->c_i = of.c, top->op_i = of.op;
            top->sew_i = of.sew, top->frm_i = of.rm, top->vxrm_i = of.vxrm, top->e5m2_i = of.e5m2;
            top->mask_i = of.mask, top->active_i = of.active, top->tag_i = sent % TAGS;
        }
        top->eval();
        if (top->valid_o && top->ready_i) {
            const int64_t which = inside[top->tag_o];
            if (which < 0 || last[path[which]] >= which) return 0;
            inside[top->tag_o] = -1;
            last[path[which]] = which;
            outcomes[which].value = top->result_o;
            outcomes[which].flags = top->flags_o;
            outcomes[which].saturated = top->saturated_o;
            outcomes[which].given = cycle;
            received++;
            quiet = 0;
        }
        if (offered && top->ready_o) {
            inside[sent % TAGS] = sent;
            outcomes[sent].taken = cycle;
            sent++;
            pause = 0;
            quiet = 0;
        }
        top->clk_i = 1;
        top->eval();
        if (Verilated::gotFinish()) return 0;
    }
    return received == count ? cycle : 0;
}
