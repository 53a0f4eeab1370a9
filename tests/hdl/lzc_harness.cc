#include <cstdint>
#include <memory>

#include "Vlzc.h"
#include "verilated.h"

extern "C" void lzc_run(uint64_t count, const uint32_t* in, uint8_t* zeros, uint8_t* empty) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vlzc>(context.get());
    for (uint64_t i = 0; i < count; i++) {
        top->in_i = in[i];
        top->eval();
        zeros[i] = top->count_o;
        empty[i] = top->empty_o;
    }
}
