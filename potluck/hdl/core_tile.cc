// The scalar core, without a vector unit or with one, between memories, and a record of each instruction that it retires.
#include <memory>

#if __has_include("Vvector_tile.h")
#define VECTOR 1
#include "Vvector_tile.h"
using Model = Vvector_tile;
#else
#define VECTOR 0
#include "Vcore_tile.h"
using Model = Vcore_tile;
#endif
#include "tile.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

struct Settings {
    uint64_t registers, writable, entry, hart, harts;
    uint64_t load, atomic, float_load, dram;  // cycles from a request to the instruction that needs it; more in DRAM
    uint64_t gaps;                            // of 256 cycles, those in which memory and fetch do nothing
    uint64_t quiet;                           // cycles without a result after which none comes any more
    uint64_t vector_load, banks;              // cycles from a request of a vector port to its answer; banks of L1
};

struct Tile {
    VerilatedContext context;
    std::unique_ptr<Model> top;
    Settings set;
    Memories memories;
    Instructions code;
    Books books;
    std::deque<Answer> answers, floats[2];  // to the core; to the sequencer, from L1 and from DRAM
    std::deque<Answer> ports[4];      // answers to its ports
    uint64_t cycle = 0, random = 1, end = 0;
    uint64_t waves_from = UINT64_MAX, time = 0;
    bool ended = false;
#if VM_TRACE
    VerilatedVcdC vcd;
#endif

    bool idles() {
        random = random * 6364136223846793005u + 1442695040888963407u;
        return (random >> 33) % 256 < set.gaps;
    }

    uint64_t read(uint64_t address) {  // the whole word
        address &= ~7ull;
        if (address - set.registers < 24) {
            const uint64_t values[] = {set.harts, 0, cycle + 1};
            return values[(address - set.registers) / 8];
        }
        return memories.read(address);
    }

    void answer(std::deque<Answer>& queue, uint64_t latency, uint64_t data) {
        uint64_t due = cycle + latency - 1;
        while (set.gaps && idles()) due++;
        if (!queue.empty()) due = std::max(due, queue.back().due + 1);
        queue.push_back({due, data});
    }

    void dump() {
#if VM_TRACE
        if (cycle >= waves_from) vcd.dump(time);
        time += 5;
#endif
    }

    void reset() {
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
        const uint64_t address = element(t.request_address_o, 1);
        const uint32_t in_dram = t.request_in_dram_o >> 1 & 1;
        books.last = cycle;
        if (!(t.request_write_o & 2)) {
            answer(floats[in_dram], set.float_load + (in_dram ? set.dram : 0), read(address));
            return;
        }
        const uint64_t data = element(t.request_data_o, 1);
        memories.write(address, data, bits(t.request_strobe_o, 8, 8));
        books.float_stored(address, bits(t.request_size_o, 2, 2), data);
    }

    // The core's request of this cycle.
    void access(uint64_t address) {
        auto& t = *top;
        const bool writes = t.request_write_o & 1, atomic = t.request_atomic_o;
        const uint64_t extra = t.request_in_dram_o & 1 ? set.dram : 0;
        books.last = cycle;
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
        answer(answers, (atomic ? set.atomic : set.load) + extra, old);
    }

#if VECTOR
    // Which ports are answered: of those that meet at a bank of L1 the first one.
    uint32_t granted() {
        auto& t = *top;
        uint32_t ready = 0;
        std::vector<uint64_t> busy;
        for (int port = 0; port < 4; port++) {
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
        for (int port = 0; port < 4; port++) {
            if (!(t.port_valid_o & t.port_ready_i & 1u << port)) continue;
            const uint64_t address = element(t.port_address_o, port);
            books.last = cycle;
            if (t.port_write_o) {
                const uint64_t data = element(t.port_data_o, port);
                const uint32_t strobe = uint32_t(bits(t.port_strobe_o, 8 * port, 8));
                memories.write(address, data, strobe);
                books.note(t.port_id_o, address, strobe, 1, &data, 8, cycle);
            } else {
                const bool near = address - memories.regions[0].begin < memories.regions[0].size;
                answer(ports[port], set.vector_load + (near ? 0 : set.dram), read(address));
            }
        }
        for (int writer = 0; writer < 3; writer++) {
            if (!(t.wrote_o >> writer & 1)) continue;
            books.note(bits(t.wrote_id_o, 8 * writer, 8), bits(t.wrote_word_o, 8 * writer, 8),
                       uint32_t(bits(t.wrote_strobe_o, 32 * writer, 32)), 0,
                       reinterpret_cast<const uint8_t*>(&t.wrote_data_o) + 32 * writer, 32, cycle);
        }
        if (t.raised_o) books.note(t.raised_id_o, 0, t.raised_o, 2, nullptr, 0, cycle);
        if (t.issued_o) books.issued(t.issued_id_o, t.issued_pc_o, cycle);
    }
#endif

    void step() {
        auto& t = *top;
        t.clk_i = 0;
        auto take = [&](std::deque<Answer>& queue, uint64_t& data) {
            if (queue.empty() || queue.front().due > cycle) return false;
            data = queue.front().data;
            queue.pop_front();
            return true;
        };
        uint64_t data = 0;
        t.answer_valid_i = take(answers, data);
        t.answer_data_i = data;
        uint32_t valid = 0;
        for (int m = 0; m < 2; m++) {
            data = 0;
            if (take(floats[m], data)) valid |= 1u << m;
            set_element(t.float_data_i, m, data);
        }
        t.float_valid_i = valid;
#if VECTOR
        uint32_t answered = 0;
        for (int port = 0; port < 4; port++) {
            data = 0;
            if (take(ports[port], data)) answered |= 1u << port;
            set_element(t.port_answer_data_i, port, data);
        }
        t.port_answer_i = answered;
        t.port_ready_i = 0;
#endif
        uint32_t word = 0;
        const bool good = code.fetch(t.fetch_address_o, word);
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
        const uint64_t address = element(t.request_address_o, 0);
        if (asks & 1) access(address);
        if (t.retired_o) {
            Record* record = books.retire(t.retired_pc_o, cycle, t.retired_word_o, t.retired_writes_o,
                                          uint16_t(t.retired_fcsr_o), t.retired_float_store_o);
            if (record && (asks & 1) && (t.request_write_o & 1) && !t.request_atomic_o)  // what it stores
                Books::stored(*record, address, bits(t.request_size_o, 0, 2), element(t.request_data_o, 0));
        }
        for (int port = 0; port < X_PORTS; port++) {
            const int to = int(bits(t.x_register_o, 5 * port, 5));
            if (t.x_write_o >> port & 1 && to) books.written(to, element(t.x_value_o, port), cycle);
        }
        for (int port = 0; port < F_PORTS; port++)
            if (t.f_write_o >> port & 1)
                books.written(32 + int(bits(t.f_register_o, 5 * port, 5)), element(t.f_value_o, port), cycle);
        if (t.fetch_anew_o) code.anew();
        dump();
        t.clk_i = 1;
        t.eval();
        dump();
        cycle++;
        if (t.trap_o && !ended) {
            ended = true;
            end = cycle - 1;
        }
    }
};

extern "C" Tile* tile_new(const Settings* settings, uint8_t* l1, uint64_t l1_begin, uint64_t l1_size, uint8_t* dram,
                          uint64_t dram_begin, uint64_t dram_size) {
    auto* tile = new Tile;
    tile->context.fatalOnError(false);  // a failed assertion is to end the run, not the process
#if VM_TRACE
    tile->context.traceEverOn(true);
#endif
    tile->top = std::make_unique<Model>(&tile->context);
    tile->set = *settings;
    tile->code.memories = &tile->memories;
    tile->memories.regions[0] = {l1, l1_begin, l1_size};
    tile->memories.regions[1] = {dram, dram_begin, dram_size};
    return tile;
}

// A range of addresses that can be fetched from, as memory holds it now.
extern "C" void tile_code(Tile* tile, uint64_t begin, uint64_t size) {
    tile->code.copy(begin, size);
}

// Write a waveform from a cycle on; 0 if this build cannot.
extern "C" int tile_waves(Tile* tile, const char* path, uint64_t from) {
#if VM_TRACE
    tile->top->trace(&tile->vcd, 99);
    tile->vcd.open(path);
    tile->waves_from = from;
    return 1;
#else
    (void)tile, (void)path, (void)from;
    return 0;
#endif
}

// Runs from reset to a trap and until nothing is under way, at most `limit` cycles, or to as many instructions as there
// is room for. end: cycle, cause, pc and address of the trap. Returns how many instructions retired; -1 if none did for
// long, -2 if an assertion failed, -3 if memory was accessed where there is none: `end` then holds the count and cycle.
extern "C" int64_t tile_run(Tile* tile, Record* records, uint64_t capacity, uint64_t limit, uint64_t* end) {
    Books& books = tile->books;
    int64_t failed = 0;
    books.records = records;
    books.capacity = capacity;
    tile->reset();
    while (!failed && books.count < capacity && tile->cycle < limit &&
           !(tile->ended && tile->cycle - books.last > tile->set.quiet)) {
        tile->step();
        if (tile->context.gotError()) failed = -2;
        else if (tile->memories.lost) failed = -3;
        else if (!tile->ended && tile->cycle - books.last > 64 * tile->set.quiet) failed = -1;
    }
#if VM_TRACE
    tile->vcd.close();
#endif
    end[0] = tile->ended ? tile->end : tile->cycle;
    end[1] = tile->ended ? tile->top->trap_cause_o : 0;
    end[2] = tile->top->trap_pc_o;
    end[3] = tile->top->trap_address_o;
    end[4] = books.count;
    return failed ? failed : int64_t(books.count);
}

// The events of a run so far, in the order in which they happened.
extern "C" uint64_t tile_events(Tile* tile, const Event** events) {
    *events = tile->books.events.data();
    return tile->books.events.size();
}

extern "C" void tile_free(Tile* tile) { delete tile; }
