// The accelerator between two memories: its registers are written and read, and what it asks of memory is answered.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vpot_engine.h"
#include "verilated.h"

namespace {

struct Region {
    uint8_t* bytes;
    uint64_t begin, end;
};

struct Engine {
    VerilatedContext context;
    Vpot_engine top{&context};
    Region regions[2];
    uint64_t latency, gaps, cycle = 0, random = 1;
    struct Beat {
        uint64_t due;
        std::vector<uint8_t> bytes;
    };
    std::deque<Beat> beats;
    struct Write {
        uint64_t due, address;
        std::vector<uint8_t> bytes, strobe;
    };
    std::deque<Write> writes;
    std::deque<std::vector<uint8_t>> words;
    std::vector<uint64_t> begins[3], ends[3];
    bool outside = false;
    uint64_t lowest = UINT64_MAX, highest = 0;  // of what was written

    bool often() {  // not in a gap
        random = random * 6364136223846793005u + 1442695040888963407u;
        return (random >> 33) % 256 >= gaps;
    }

    uint8_t* at(uint64_t address, uint64_t size) {
        for (auto& region : regions)
            if (region.begin <= address && address + size <= region.end) return region.bytes + (address - region.begin);
        return nullptr;
    }

    // Part of what is read may lie outside: a beat is wider than a row.
    std::vector<uint8_t> read(uint64_t address, uint64_t size) {
        std::vector<uint8_t> found(size, 0xEE);
        for (uint64_t i = 0; i < size; i++)
            if (const uint8_t* byte = at(address + i, 1)) found[i] = *byte;
        return found;
    }

    template <typename T>
    static std::vector<uint8_t> bytes_of(const T& port) {
        const auto* begin = reinterpret_cast<const uint8_t*>(&port);
        return {begin, begin + sizeof(T)};
    }

    void write(const Write& write) {
        for (uint64_t i = 0; i < write.bytes.size(); i++) {
            if (!(write.strobe[i / 8] >> i % 8 & 1)) continue;
            uint8_t* byte = at(write.address + i, 1);
            if (!byte) outside = true;
            else *byte = write.bytes[i];
            lowest = std::min<uint64_t>(lowest, write.address + i);
            highest = std::max<uint64_t>(highest, write.address + i);
        }
    }

    void step() {
        top.clk_i = 0;
        const bool word = !words.empty() && often();
        top.fetched_valid_i = word;
        if (word) memcpy(&top.fetched_data_i, words.front().data(), 8);
        const bool beat = !beats.empty() && beats.front().due <= cycle && often();
        top.beat_valid_i = beat;
        if (beat) memcpy(&top.beat_i, beats.front().bytes.data(), sizeof(top.beat_i));
        top.written_i = !writes.empty() && writes.front().due <= cycle;
        top.fetch_ready_i = often();
        top.request_ready_i = often();
        top.write_ready_i = often();
        top.eval();
        if (word) words.pop_front();
        if (beat) beats.pop_front();
        if (top.written_i) {  // not before: who does not wait for the answer reads what was there
            write(writes.front());
            writes.pop_front();
        }
        if (top.fetch_valid_o && top.fetch_ready_i) words.push_back(read(top.fetch_address_o, 8));
        if (top.request_valid_o && top.request_ready_i)
            beats.push_back({cycle + latency, read(top.request_address_o, sizeof(top.beat_i))});
        if (top.write_valid_o && top.write_ready_i)
            writes.push_back(
                {cycle + latency, top.write_address_o, bytes_of(top.write_data_o), bytes_of(top.write_strobe_o)});
        for (int e = 0; e < 3; e++) {
            if (top.begins_o >> e & 1) begins[e].push_back(cycle);
            if (top.ends_o >> e & 1) ends[e].push_back(cycle);
        }
        top.clk_i = 1;
        top.eval();
        cycle++;
    }
};

}  // namespace

extern "C" Engine* engine_new(uint8_t* l1, uint64_t l1_begin, uint64_t l1_bytes, uint8_t* dram, uint64_t dram_begin,
                              uint64_t dram_bytes, uint64_t writable, uint64_t latency, uint64_t gaps) {
    auto* engine = new Engine;
    engine->context.fatalOnError(false);  // a failed assertion is to end the run, not the process
    engine->regions[0] = {l1, l1_begin, l1_begin + l1_bytes};
    engine->regions[1] = {dram, dram_begin, dram_begin + dram_bytes};
    engine->latency = latency;
    engine->gaps = 0;
    auto& top = engine->top;
    for (int m = 0; m < 2; m++) {
        const uint64_t begin = engine->regions[m].begin, end = engine->regions[m].end;
        memcpy(reinterpret_cast<uint8_t*>(&top.memory_begin_i) + 8 * m, &begin, 8);
        memcpy(reinterpret_cast<uint8_t*>(&top.memory_end_i) + 8 * m, &end, 8);
    }
    top.writable_i = writable;
    top.register_valid_i = 0;
    top.rst_ni = 0;
    engine->step();
    top.rst_ni = 1;
    engine->gaps = gaps;
    return engine;
}

extern "C" void engine_free(Engine* engine) { delete engine; }

// Writes or reads a register. Returns the cycle in which it was answered; -1 if not within `limit` cycles, -2 if an
// assertion failed, -3 if something was written outside memory.
extern "C" int64_t engine_access(Engine* engine, uint32_t write, uint32_t address, uint64_t* data, uint64_t limit) {
    auto& top = engine->top;
    top.register_valid_i = 1;
    top.register_write_i = write;
    top.register_address_i = address;
    top.register_data_i = *data;
    for (const uint64_t end = engine->cycle + limit; engine->cycle < end;) {
        top.clk_i = 0;
        top.eval();
        const bool ready = top.register_ready_o;
        if (!write) *data = top.register_data_o;
        const int64_t answered = engine->cycle;
        engine->step();
        if (engine->context.gotError()) return -2;
        if (engine->outside) return -3;
        if (ready) {
            top.register_valid_i = 0;
            return answered;
        }
    }
    return -1;
}

// First and last address that was written, the last one first if none was.
extern "C" void engine_written(Engine* engine, uint64_t* out) {
    out[0] = engine->lowest;
    out[1] = engine->highest;
}

// Cycles in which an engine's commands began or ended, the last ones that fit; returns how many there are.
extern "C" uint64_t engine_events(Engine* engine, uint32_t which, uint32_t ended, uint64_t room, uint64_t* out) {
    const auto& events = ended ? engine->ends[which] : engine->begins[which];
    for (uint64_t i = 0; i < events.size() && i < room; i++) out[i] = events[i];
    return events.size();
}
