// The cluster between fetch, DRAM and a host, and a record of each instruction that its cores retire.
#include "Vcluster.h"
#include "harness.h"

namespace {

constexpr int BEAT = 64;

struct Beat {
    uint64_t due;
    uint8_t data[BEAT];
};

}  // namespace

struct Settings {
    uint64_t harts, registers, writable, entry;
    uint64_t load, atomic, float_load, vector_load, dram;  // cycles to the instruction that needs it; more in DRAM
    uint64_t latency, rate;  // of DRAM for the DMA: cycles, bytes per cycle in 1/256
    uint64_t gaps;           // of 256 cycles, those in which memory and fetch do nothing and a beat of a host comes
    uint64_t quiet;          // cycles without a result after which none comes any more
};

using Model = Vcluster;

struct Top : Harness<Model, Settings> {
    std::deque<Beat> reads;       // data for the DMA
    std::deque<uint64_t> writes;  // cycles in which its writes are answered
    uint64_t budget = 0;          // of the pins, in 1/256 bytes
    uint64_t last_beat = 0;       // cycle in which the DMA's last beat went to DRAM or came from there

    bool idle() const { return top->dma_idle_o; }
    uint64_t moved() const { return last_beat; }
    bool wrong() const { return top->dma_wrong_o; }

    void edge() {
        top->clk_i = 1;
        top->eval();
        dump();
        top->clk_i = 0;
    }

    // Fills L1, which holds zeros, and lets the cores begin: cycle 0 follows.
    void begin() {
        auto& t = *top;
        t.clk_i = 0;
        t.rst_ni = 0;
        t.entry_i = set.entry;
        t.l1_begin_i = memories.regions[0].begin;
        t.dram_begin_i = memories.regions[1].begin;
        t.dram_bytes_i = memories.regions[1].size;
        t.dram_writable_i = set.writable;
        t.registers_begin_i = set.registers;
        t.eval();
        edge();
        t.rst_ni = 1;
        t.host_valid_i = 1;
        t.host_write_i = 1;
        const Region& l1 = memories.regions[0];
        static const uint8_t zeros[BEAT] = {};
        for (uint64_t at = 0; at < l1.size; at += BEAT) {
            if (!memcmp(l1.bytes + at, zeros, BEAT)) continue;
            t.host_address_i = l1.begin + at;
            memcpy(&t.host_data_i, l1.bytes + at, BEAT);
            t.eval();
            edge();
        }
        t.host_valid_i = 0;
        t.host_write_i = 0;
        t.start_i = 1;
        for (int i = 0; i < 2; i++) {  // the second edge gives a0 and a1 their values
            t.eval();
            edge();
        }
    }

    // Reads L1 back.
    bool finish() {
        auto& t = *top;
        bool good = true;
        const Region& l1 = memories.regions[0];
        t.host_valid_i = 1;
        t.host_write_i = 0;
        t.fetch_valid_i = 0;
        for (uint64_t at = 0; at < l1.size; at += BEAT) {
            t.host_address_i = l1.begin + at;
            t.eval();
            good &= t.host_granted_o;
            edge();
            t.eval();
            memcpy(l1.bytes + at, &t.host_data_o, BEAT);
        }
        return good;
    }

    // Whether DRAM's pins carry a beat in this cycle.
    bool carries() {
        if (budget < BEAT * 256) return false;
        budget -= BEAT * 256;
        last_beat = cycle;
        return true;
    }

    // What the DMA asks of DRAM in this cycle, after its requests are known.
    void serve_dma() {
        auto& t = *top;
        budget = std::min<uint64_t>(budget + set.rate, std::max<uint64_t>(set.rate, BEAT * 256));
        t.dma_write_ready_i = t.dma_write_o && !idles() && carries();
        t.dma_read_ready_i = t.dma_read_o && !idles() && carries();
        t.eval();
        const uint64_t due = cycle + set.latency;
        if (t.dma_read_o && t.dma_read_ready_i) {
            Beat beat{due, {}};
            const uint8_t* bytes = memories.at(t.dma_read_address_o);
            if (bytes && memories.at(t.dma_read_address_o + BEAT - 1)) memcpy(beat.data, bytes, BEAT);
            else memories.lost = true;
            if (!reads.empty()) beat.due = std::max(beat.due, reads.back().due);
            reads.push_back(beat);
        }
        if (t.dma_write_o && t.dma_write_ready_i) {
            for (int word = 0; word < BEAT / 8; word++)
                if (const uint64_t strobe = bits(t.dma_write_strobe_o, 8 * word, 8))
                    memories.write(t.dma_write_address_o + 8 * word, element(t.dma_write_data_o, word), strobe);
            writes.push_back(due);
        }
    }

    // A core's requests to DRAM in this cycle.
    void serve(Core& core, int number) {
        auto& t = *top;
        for (int side = 1; side >= 0; side--) {  // the sequencer's is the earlier one
            const int at = 2 * number + side;
            if (!bits(t.far_valid_o, at, 1) || !bits(t.far_ready_i, at, 1)) continue;
            const uint64_t address = element(t.request_address_o, at), data = element(t.request_data_o, at);
            const bool writes = bits(t.request_write_o, at, 1);
            const bool atomic = side == 0 && bits(t.request_atomic_o, number, 1);
            if (writes && !atomic) {
                memories.write(address, data, bits(t.request_strobe_o, 8 * at, 8));
                continue;
            }
            const uint64_t old = memories.read(address);
            if (writes) {
                set_element(t.atomic_old_i, number, old);
                t.eval();
                memories.write(address, element(t.atomic_new_o, number), 255);
            }
            const uint64_t latency = side ? set.float_load : atomic ? set.atomic : set.load;
            answer(side ? core.floats[1] : core.answers, latency + set.dram, old);
        }
        for (int port = 0; port < PORTS; port++) {
            const int at = PORTS * number + port;
            if (!bits(t.far_port_valid_o, at, 1) || !bits(t.far_port_ready_i, at, 1)) continue;
            const uint64_t address = element(t.port_address_o, at);
            if (bits(t.port_write_o, number, 1))
                memories.write(address, element(t.port_data_o, at), bits(t.port_strobe_o, 8 * at, 8));
            else answer(core.ports[port], set.vector_load + set.dram, memories.read(address));
        }
    }

    // What a core does in this cycle.
    void watch(Core& core, int number) {
        auto& t = *top;
        watch_vector(core.books, number);
        const int at = 2 * number + 1;
        if (bits(t.request_taken_o, at, 1) && bits(t.request_write_o, at, 1))
            core.books.float_stored(element(t.request_address_o, at), unsigned(bits(t.request_size_o, 2 * at, 2)),
                                    element(t.request_data_o, at));
        watch_core(core, number, bits(t.request_taken_o, 2 * number, 1));
        if (bits(t.trap_o, number, 1) && !core.ended) {
            core.ended = true;
            core.end = cycle - 1;
        }
    }

    void step() {
        auto& t = *top;
        for (int number = 0; number < int(cores.size()); number++) {
            Core& core = cores[number];
            uint64_t data[2 + PORTS] = {};
            set_bits(t.far_answer_i, 2 * number, 1, take(core.answers, data[0]));
            set_bits(t.far_answer_i, 2 * number + 1, 1, take(core.floats[1], data[1]));
            for (int side = 0; side < 2; side++) set_element(t.far_data_i, 2 * number + side, data[side]);
            for (int port = 0; port < PORTS; port++) {
                const int at = PORTS * number + port;
                set_bits(t.far_port_answer_i, at, 1, take(core.ports[port], data[2]));
                set_element(t.far_port_data_i, at, data[2]);
                set_bits(t.far_port_ready_i, at, 1, !idles());
            }
            for (int side = 0; side < 2; side++) set_bits(t.far_ready_i, 2 * number + side, 1, !idles());
            uint32_t word = 0;
            const bool good = core.code.fetch(element(t.fetch_address_o, number), word);
            set_bits(t.fetch_valid_i, number, 1, !idles());
            set_bits(t.fetch_fault_i, number, 1, !good);
            set_bits(t.fetch_data_i, 32 * number, 32, word);
        }
        t.dma_data_valid_i = !reads.empty() && reads.front().due <= cycle;
        if (t.dma_data_valid_i) memcpy(&t.dma_data_i, reads.front().data, BEAT);
        t.dma_written_i = !writes.empty() && writes.front() <= cycle;
        if (t.dma_written_i) writes.pop_front();
        t.host_valid_i = idles();  // reads what nobody looks at, in somebody's place
        if (t.host_valid_i) t.host_address_i = memories.regions[0].begin + (random >> 40) * BEAT % memories.regions[0].size;
        t.dma_read_ready_i = 0;
        t.dma_write_ready_i = 0;
        t.eval();
        serve_dma();
        if (t.dma_data_valid_i && t.dma_data_ready_o) reads.pop_front();
        for (int number = 0; number < int(cores.size()); number++) {
            serve(cores[number], number);
            watch(cores[number], number);
        }
        dump();
        edge();
        t.eval();
        cycle++;
    }
};

#include "harness_calls.h"
