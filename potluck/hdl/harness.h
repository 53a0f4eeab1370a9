// A model, its clock and waveform, the memories around it, and what is known of each of its cores.
#pragma once
#include <memory>

#include "tile.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int PORTS = 4;

struct Core {
    Books books;
    Instructions code;
    std::deque<Answer> answers;       // to the core's loads
    std::deque<Answer> floats[2];     // to its FP sequencer's, from L1 and from DRAM
    std::deque<Answer> ports[PORTS];  // to its vector unit's
    bool ended = false;
    uint64_t end = 0;
};

// Ports that belong to core `number` lie behind those of the cores before it.
template <typename Model, typename Settings>
struct Harness {
    VerilatedContext context;
    std::unique_ptr<Model> top;
    Settings set;
    Memories memories;
    std::vector<Core> cores;
    uint64_t cycle = 0, random = 1, time = 0, waves_from = UINT64_MAX;
#if VM_TRACE
    VerilatedVcdC vcd;
#endif

    bool idles() {
        if (!set.gaps) return false;
        random = random * 6364136223846793005u + 1442695040888963407u;
        return (random >> 33) % 256 < set.gaps;
    }

    void answer(std::deque<Answer>& queue, uint64_t latency, uint64_t data) {
        uint64_t due = cycle + latency - 1;
        while (idles()) due++;
        if (!queue.empty()) due = std::max(due, queue.back().due + 1);
        queue.push_back({due, data});
    }

    // Whether there is an answer in this cycle.
    bool take(std::deque<Answer>& queue, uint64_t& data) {
        if (queue.empty() || queue.front().due > cycle) return false;
        data = queue.front().data;
        queue.pop_front();
        return true;
    }

    void dump() {
#if VM_TRACE
        if (cycle >= waves_from) vcd.dump(time);
        time += 5;
#endif
    }

    // What a core's vector unit writes to registers, raises and begins in this cycle.
    void watch_vector(Books& books, int number) {
        auto& t = *top;
        for (int writer = 0; writer < 3; writer++) {
            const int at = 3 * number + writer;
            if (bits(t.wrote_o, at, 1))
                books.note(bits(t.wrote_id_o, 8 * at, 8), bits(t.wrote_word_o, 8 * at, 8),
                           uint32_t(bits(t.wrote_strobe_o, 32 * at, 32)), 0,
                           reinterpret_cast<const uint8_t*>(&t.wrote_data_o) + 32 * at, 32, cycle);
        }
        if (const uint64_t raised = bits(t.raised_o, 6 * number, 6))
            books.note(bits(t.raised_id_o, 2 * number, 2), 0, uint32_t(raised), 2, nullptr, 0, cycle);
        if (bits(t.issued_o, number, 1))
            books.issued(bits(t.issued_id_o, 2 * number, 2), element(t.issued_pc_o, number), cycle);
    }

    // What a core retires and what comes to its registers in this cycle; `taken`: whether its request is.
    void watch_core(Core& core, int number, bool taken) {
        auto& t = *top;
        Books& books = core.books;
        if (bits(t.retired_o, number, 1)) {
            Record* record = books.retire(element(t.retired_pc_o, number), cycle,
                                          uint32_t(bits(t.retired_word_o, 32 * number, 32)),
                                          unsigned(bits(t.retired_writes_o, 7 * number, 7)),
                                          uint16_t(bits(t.retired_fcsr_o, 14 * number, 14)),
                                          bits(t.retired_float_store_o, number, 1));
            const int at = 2 * number;
            if (record && taken && bits(t.request_write_o, at, 1) && !bits(t.request_atomic_o, number, 1))
                Books::stored(*record, element(t.request_address_o, at), unsigned(bits(t.request_size_o, 2 * at, 2)),
                              element(t.request_data_o, at));
        }
        for (int port = 0; port < X_PORTS; port++) {
            const int at = X_PORTS * number + port, to = int(bits(t.x_register_o, 5 * at, 5));
            if (bits(t.x_write_o, at, 1) && to) books.written(to, element(t.x_value_o, at), cycle);
        }
        for (int port = 0; port < F_PORTS; port++) {
            const int at = F_PORTS * number + port;
            if (bits(t.f_write_o, at, 1))
                books.written(32 + int(bits(t.f_register_o, 5 * at, 5)), element(t.f_value_o, at), cycle);
        }
        if (bits(t.fetch_anew_o, number, 1)) core.code.anew();
    }
};

}  // namespace
