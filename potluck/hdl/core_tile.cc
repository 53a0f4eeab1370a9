// The scalar core, without a vector unit or with one, between memories, and a record of each instruction that it retires.
#if __has_include("Vvector_tile.h")
#define VECTOR 1
#include "Vvector_tile.h"
using Model = Vvector_tile;
#else
#define VECTOR 0
#include "Vcore_tile.h"
using Model = Vcore_tile;
#endif
#include "harness.h"

struct Settings {
    uint64_t registers, writable, entry, hart, harts;
    uint64_t load, atomic, float_load, dram;  // cycles from a request to the instruction that needs it; more in DRAM
    uint64_t gaps;                            // of 256 cycles, those in which memory and fetch do nothing
    uint64_t quiet;                           // cycles without a result after which none comes any more
    uint64_t vector_load, banks;              // cycles from a request of a vector port to its answer; banks of L1
};

struct Top : Harness<Model, Settings> {
    bool idle() const { return true; }
    uint64_t moved() const { return 0; }
    bool wrong() const { return false; }
    bool finish() const { return true; }

    uint64_t read(uint64_t address) {  // the whole word
        address &= ~7ull;
        if (address - set.registers < 24) {
            const uint64_t values[] = {set.harts, 0, cycle + 1};
            return values[(address - set.registers) / 8];
        }
        return memories.read(address);
    }

    void begin() {
        auto& t = *top;
        t.clk_i = 0;
        t.rst_ni = 0;
        t.entry_i = set.entry;
        t.hart_i = set.hart;
        t.harts_i = set.harts;
        t.l1_begin_i = memories.regions[0].begin;
        t.l1_bytes_i = memories.regions[0].size;
        t.dram_begin_i = memories.regions[1].begin;
        t.dram_bytes_i = memories.regions[1].size;
        t.dram_writable_i = set.writable;
        t.registers_begin_i = set.registers;
        t.dma_idle_i = 1;
#if !VECTOR
        t.vector_idle_i = 1;
        t.vtype_i = 1ull << 63;
#endif
        t.eval();
        for (int i = 0; i < 2; i++) {  // the second edge gives a0 and a1 their values; cycle 0 follows
            t.clk_i = 1;
            t.eval();
            t.clk_i = 0;
            t.rst_ni = 1;
            t.eval();
        }
    }

    // The FP sequencer's request of this cycle.
    void access_float() {
        auto& t = *top;
        Core& core = cores[0];
        const uint64_t address = element(t.request_address_o, 1);
        const uint32_t in_dram = t.request_in_dram_o >> 1 & 1;
        core.books.last = cycle;
        if (!(t.request_write_o & 2)) {
            answer(core.floats[in_dram], set.float_load + (in_dram ? set.dram : 0), read(address));
            return;
        }
        const uint64_t data = element(t.request_data_o, 1);
        memories.write(address, data, bits(t.request_strobe_o, 8, 8));
        core.books.float_stored(address, bits(t.request_size_o, 2, 2), data);
    }

    // The core's request of this cycle.
    void access() {
        auto& t = *top;
        Core& core = cores[0];
        const uint64_t address = element(t.request_address_o, 0);
        const bool writes = t.request_write_o & 1, atomic = t.request_atomic_o;
        const uint64_t extra = t.request_in_dram_o & 1 ? set.dram : 0;
        core.books.last = cycle;
        if (writes && !atomic) {
            memories.write(address, element(t.request_data_o, 0), bits(t.request_strobe_o, 0, 8));
            return;
        }
        const uint64_t old = read(address);
        if (writes) {
            t.atomic_old_i = old;
            t.eval();
            memories.write(address, t.atomic_new_o, 255);
        }
        answer(core.answers, (atomic ? set.atomic : set.load) + extra, old);
    }

#if VECTOR
    // Which ports are answered: of those that meet at a bank of L1 the first one.
    uint32_t granted() {
        auto& t = *top;
        uint32_t ready = 0;
        std::vector<uint64_t> busy;
        for (int port = 0; port < PORTS; port++) {
            if (!(t.port_valid_o >> port & 1)) continue;
            const uint64_t address = element(t.port_address_o, port);
            const bool near = address - memories.regions[0].begin < memories.regions[0].size;
            const uint64_t bank = address / 8 % set.banks;
            if (near && std::find(busy.begin(), busy.end(), bank) != busy.end()) continue;
            if (near) busy.push_back(bank);
            if (!idles()) ready |= 1u << port;
        }
        return ready;
    }

    // Requests of the vector unit that are taken, and what it writes and raises.
    void watch() {
        auto& t = *top;
        Core& core = cores[0];
        for (int port = 0; port < PORTS; port++) {
            if (!(t.port_valid_o & t.port_ready_i & 1u << port)) continue;
            const uint64_t address = element(t.port_address_o, port);
            core.books.last = cycle;
            if (t.port_write_o) {
                const uint64_t data = element(t.port_data_o, port);
                const uint32_t strobe = uint32_t(bits(t.port_strobe_o, 8 * port, 8));
                memories.write(address, data, strobe);
                core.books.note(t.port_id_o, address, strobe, 1, &data, 8, cycle);
            } else {
                const bool near = address - memories.regions[0].begin < memories.regions[0].size;
                answer(core.ports[port], set.vector_load + (near ? 0 : set.dram), read(address));
            }
        }
        watch_vector(core.books, 0);
    }
#endif

    void step() {
        auto& t = *top;
        Core& core = cores[0];
        t.clk_i = 0;
        uint64_t data = 0;
        t.answer_valid_i = take(core.answers, data);
        t.answer_data_i = data;
        uint32_t valid = 0;
        for (int m = 0; m < 2; m++) {
            data = 0;
            if (take(core.floats[m], data)) valid |= 1u << m;
            set_element(t.float_data_i, m, data);
        }
        t.float_valid_i = valid;
#if VECTOR
        uint32_t answered = 0;
        for (int port = 0; port < PORTS; port++) {
            data = 0;
            if (take(core.ports[port], data)) answered |= 1u << port;
            set_element(t.port_answer_data_i, port, data);
        }
        t.port_answer_i = answered;
        t.port_ready_i = 0;
#endif
        uint32_t word = 0;
        const bool good = core.code.fetch(t.fetch_address_o, word);
        t.fetch_valid_i = !idles();
        t.fetch_fault_i = !good;
        t.fetch_data_i = word;
        t.request_ready_i = (idles() ? 0 : 1) | (idles() ? 0 : 2);
        t.eval();
#if VECTOR
        t.port_ready_i = granted();
        t.eval();
        watch();
#endif
        const uint32_t asks = t.request_valid_o & t.request_ready_i;
        if (asks & 2) access_float();  // the earlier one of a cycle
        if (asks & 1) access();
        watch_core(core, 0, asks & 1);
        dump();
        t.clk_i = 1;
        t.eval();
        dump();
        cycle++;
        if (t.trap_o && !core.ended) {
            core.ended = true;
            core.end = cycle - 1;
        }
    }
};

#include "harness_calls.h"
