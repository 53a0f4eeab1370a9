// The cluster between fetch, DRAM and a host, and a record of each instruction that its cores retire.
#include <memory>

#include "Vcluster.h"
#include "tile.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif


namespace {

constexpr int PORTS = 4, BEAT = 64;

struct Beat {
    uint64_t due;
    uint8_t data[BEAT];
};

}  // namespace

struct Settings {
    uint64_t cores, registers, writable, entry;
    uint64_t load, atomic, float_load, vector_load, dram;  // cycles to the instruction that needs it; more in DRAM
    uint64_t latency, rate;  // of DRAM for the DMA: cycles, bytes per cycle in 1/256
    uint64_t gaps;           // of 256 cycles, those in which memory and fetch do nothing and a beat of a host comes
    uint64_t quiet;          // cycles without a result after which none comes any more
};

struct Core {
    Books books;
    Instructions code;
    std::deque<Answer> answers, floats, ports[PORTS];  // of DRAM
    bool ended = false;
    uint64_t end = 0;
};

struct Cluster {
    VerilatedContext context;
    std::unique_ptr<Vcluster> top;
    Settings set;
    Memories memories;
    std::vector<Core> cores;
    std::deque<Beat> reads;         // data for the DMA
    std::deque<uint64_t> writes;    // cycles in which its writes are answered
    uint64_t budget = 0;            // of the pins, in 1/256 bytes
    uint64_t moved = 0;             // cycle in which the DMA's last beat went to DRAM or came from there
    uint64_t cycle = 0, random = 1, time = 0, waves_from = UINT64_MAX;
    bool failed = false;
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

    void dump() {
#if VM_TRACE
        if (cycle >= waves_from) vcd.dump(time);
        time += 5;
#endif
    }

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
    void finish() {
        auto& t = *top;
        const Region& l1 = memories.regions[0];
        t.host_valid_i = 1;
        t.host_write_i = 0;
        t.fetch_valid_i = 0;
        for (uint64_t at = 0; at < l1.size; at += BEAT) {
            t.host_address_i = l1.begin + at;
            t.eval();
            if (!t.host_granted_o) failed = true;
            edge();
            t.eval();
            memcpy(l1.bytes + at, &t.host_data_o, BEAT);
        }
    }

    // Whether DRAM's pins carry a beat in this cycle.
    bool carries() {
        if (budget < BEAT * 256) return false;
        budget -= BEAT * 256;
        moved = cycle;
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
            answer(side ? core.floats : core.answers, latency + set.dram, old);
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

    // What a core retires and writes in this cycle.
    void watch(Core& core, int number) {
        auto& t = *top;
        Books& books = core.books;
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
        auto taken = [&](int side) { return bits(t.request_taken_o, 2 * number + side, 1); };
        auto writes = [&](int side) { return bits(t.request_write_o, 2 * number + side, 1); };
        auto size = [&](int side) { return unsigned(bits(t.request_size_o, 2 * (2 * number + side), 2)); };
        auto address = [&](int side) { return element(t.request_address_o, 2 * number + side); };
        auto data = [&](int side) { return element(t.request_data_o, 2 * number + side); };
        if (taken(1) && writes(1)) books.float_stored(address(1), size(1), data(1));
        if (bits(t.retired_o, number, 1)) {
            Record* record = books.retire(element(t.retired_pc_o, number), cycle,
                                          uint32_t(bits(t.retired_word_o, 32 * number, 32)),
                                          unsigned(bits(t.retired_writes_o, 7 * number, 7)),
                                          uint16_t(bits(t.retired_fcsr_o, 14 * number, 14)),
                                          bits(t.retired_float_store_o, number, 1));
            if (record && taken(0) && writes(0) && !bits(t.request_atomic_o, number, 1))
                Books::stored(*record, address(0), size(0), data(0));
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
        if (bits(t.trap_o, number, 1) && !core.ended) {
            core.ended = true;
            core.end = cycle - 1;
        }
    }

    void step() {
        auto& t = *top;
        auto take = [&](std::deque<Answer>& queue, uint64_t& data) {
            if (queue.empty() || queue.front().due > cycle) return false;
            data = queue.front().data;
            queue.pop_front();
            return true;
        };
        for (int number = 0; number < int(cores.size()); number++) {
            Core& core = cores[number];
            uint64_t data[2 + PORTS] = {};
            set_bits(t.far_answer_i, 2 * number, 1, take(core.answers, data[0]));
            set_bits(t.far_answer_i, 2 * number + 1, 1, take(core.floats, data[1]));
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

extern "C" Cluster* cluster_new(const Settings* settings, uint8_t* l1, uint64_t l1_begin, uint64_t l1_size,
                                uint8_t* dram, uint64_t dram_begin, uint64_t dram_size) {
    auto* cluster = new Cluster;
    cluster->context.fatalOnError(false);  // a failed assertion is to end the run, not the process
#if VM_TRACE
    cluster->context.traceEverOn(true);
#endif
    cluster->top = std::make_unique<Vcluster>(&cluster->context);
    cluster->set = *settings;
    cluster->memories.regions[0] = {l1, l1_begin, l1_size};
    cluster->memories.regions[1] = {dram, dram_begin, dram_size};
    cluster->cores.resize(settings->cores);
    for (auto& core : cluster->cores) core.code.memories = &cluster->memories;
    return cluster;
}

// A range of addresses that can be fetched from, as memory holds it now.
extern "C" void cluster_code(Cluster* cluster, uint64_t begin, uint64_t size) {
    for (auto& core : cluster->cores) core.code.copy(begin, size);
}

extern "C" void cluster_books(Cluster* cluster, uint64_t core, Record* records, uint64_t capacity) {
    cluster->cores[core].books.records = records;
    cluster->cores[core].books.capacity = capacity;
}

// Write a waveform from a cycle on; 0 if this build cannot.
extern "C" int cluster_waves(Cluster* cluster, const char* path, uint64_t from) {
#if VM_TRACE
    cluster->top->trace(&cluster->vcd, 99);
    cluster->vcd.open(path);
    cluster->waves_from = from;
    return 1;
#else
    (void)cluster, (void)path, (void)from;
    return 0;
#endif
}

// Runs until core 0 has stopped and nothing is under way, at most `limit` cycles, or to as many instructions as there is
// room for. Returns 0; -1 if nothing happens for long, -2 if an assertion failed, -3 if memory was accessed where there is
// none, -4 if a transfer of the DMA was.
extern "C" int64_t cluster_run(Cluster* cluster, uint64_t limit) {
    auto& c = *cluster;
    int64_t failed = 0;
    c.begin();
    while (!failed && c.cycle < limit) {
        uint64_t last = c.moved;
        bool full = false;
        for (auto& core : c.cores) {
            last = std::max(last, core.books.last);
            full |= core.books.count == core.books.capacity;
        }
        const bool over = c.cores[0].ended && c.top->dma_idle_o;
        if (full || (over && c.cycle - last > c.set.quiet)) break;
        c.step();
        if (c.context.gotError()) failed = -2;
        else if (c.memories.lost) failed = -3;
        else if (c.top->dma_wrong_o) failed = -4;
        else if (!over && c.cycle > last && c.cycle - last > 64 * c.set.quiet) failed = -1;
    }
    c.finish();
    if (c.failed && !failed) failed = -2;
#if VM_TRACE
    c.vcd.close();
#endif
    return failed;
}

// cycle, cause, pc and address of a core's trap, and how many instructions it retired.
extern "C" void cluster_end(Cluster* cluster, uint64_t number, uint64_t* end) {
    auto& core = cluster->cores[number];
    end[0] = core.ended ? core.end : cluster->cycle;
    end[1] = core.ended ? bits(cluster->top->trap_cause_o, 4 * number, 4) : 0;
    end[2] = element(cluster->top->trap_pc_o, int(number));
    end[3] = element(cluster->top->trap_address_o, int(number));
    end[4] = core.books.count;
}

// The events of a core so far, in the order in which they happened.
extern "C" uint64_t cluster_events(Cluster* cluster, uint64_t number, const Event** events) {
    *events = cluster->cores[number].books.events.data();
    return cluster->cores[number].books.events.size();
}

extern "C" void cluster_free(Cluster* cluster) { delete cluster; }
