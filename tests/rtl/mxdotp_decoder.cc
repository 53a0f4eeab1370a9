// Decodes arrays of words; a row of outputs per word in the order of the module's ports.
#include <cstdint>
#include <memory>

#include "Vmxdotp_decoder.h"
#include "verilated.h"

extern "C" void decoder_run(uint64_t count, const uint32_t* words, const uint32_t* fcsr, uint32_t* outputs) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vmxdotp_decoder>(context.get());
    for (uint64_t i = 0; i < count; i++) {
        top->word_i = words[i];
        top->fcsr_i = fcsr[i];
        top->eval();
        const uint32_t row[] = {top->valid_o, top->illegal_o, top->quad_o, top->scalar_o, top->vd_o, top->s1_o, top->s2_o,
                                top->s3_o, top->s4_o, top->elem_fmt_o, top->acc_fmt_o, top->rm_o};
        for (const uint32_t value : row) *outputs++ = value;
    }
}
