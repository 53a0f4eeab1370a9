// What harnesses of a core share: memories, instructions as they are fetched, and books of what a core retires.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

namespace {

constexpr int X_PORTS = 6, F_PORTS = 4;
constexpr uint8_t NOTHING = 255;
constexpr uint64_t PAGE = 4096;

struct Record {
    uint64_t pc, cycle, value, address;
    uint32_t word;
    uint8_t destination;  // x0..x31, f0..f31 from 32 on; NOTHING
    uint8_t kind;         // of value: 0 none, 1 a register's, 2 what was stored at address
    uint16_t fcsr;        // before the instruction
};

// What a vector instruction did: bytes of a register file word, or of memory, that it wrote; flags that it raised.
struct Event {
    uint64_t record, place;  // the word's number, or the address
    uint32_t strobe, kind;   // kind 0: register file, 1: memory, 2: flags, which are the strobe
    uint8_t data[32];
};

struct Region {
    uint8_t* bytes;
    uint64_t begin, size;
};

struct Answer {
    uint64_t due, data;
};

// Bits of a port, of whatever width Verilator keeps it in: words, lowest first.
template <typename T>
uint64_t bits(const T& port, size_t from, int width) {
    const size_t first = from / 8, count = std::min<size_t>(9, sizeof(T) - first);
    uint8_t bytes[16] = {};
    memcpy(bytes, reinterpret_cast<const uint8_t*>(&port) + first, count);
    unsigned __int128 value;
    memcpy(&value, bytes, 16);
    return uint64_t(value >> from % 8) & (~0ull >> (64 - width));
}

template <typename T>
void set_bits(T& port, size_t from, int width, uint64_t value) {
    uint8_t* bytes = reinterpret_cast<uint8_t*>(&port);
    if (width % 8 == 0 && from % 8 == 0) {
        memcpy(bytes + from / 8, &value, width / 8);
        return;
    }
    for (int i = 0; i < width; i++) {
        const size_t at = from + i;
        bytes[at / 8] = uint8_t((bytes[at / 8] & ~(1u << at % 8)) | (value >> i & 1) << at % 8);
    }
}

// One of several elements of a packed array of 64 bits.
template <typename T>
uint64_t element(const T& port, int index) {
    return bits(port, 64 * index, 64);
}

template <typename T>
void set_element(T& port, int index, uint64_t value) {
    set_bits(port, 64 * index, 64, value);
}

struct Memories {
    Region regions[2];  // L1, DRAM
    bool lost = false;  // there was an access where there is none

    uint8_t* at(uint64_t address) {
        for (auto& region : regions)
            if (address - region.begin < region.size) return region.bytes + (address - region.begin);
        return nullptr;
    }

    uint64_t read(uint64_t address) {  // the whole word
        uint64_t value = 0;
        if (const uint8_t* bytes = at(address & ~7ull)) memcpy(&value, bytes, 8);
        else lost = true;
        return value;
    }

    void write(uint64_t address, uint64_t data, uint64_t strobe) {
        uint8_t* bytes = at(address & ~7ull);
        if (!bytes) lost = true;
        else
            for (int i = 0; i < 8; i++)
                if (strobe >> i & 1) bytes[i] = uint8_t(data >> 8 * i);
    }
};

// What fetch sees: copies of pages that are taken when they are first fetched from, as memory may hold something else
// until a fence.i.
struct Instructions {
    struct Part {
        uint64_t begin;
        std::vector<uint8_t> bytes;
    };
    Memories* memories;
    std::vector<Part> parts;

    const uint8_t* fetched(uint64_t address) {
        for (const auto& part : parts)
            if (address - part.begin < part.bytes.size()) return part.bytes.data() + (address - part.begin);
        for (const auto& region : memories->regions) {
            if (address - region.begin >= region.size) continue;
            uint64_t begin = std::max(address & -PAGE, region.begin);
            uint64_t end = std::min((address & -PAGE) + PAGE, region.begin + region.size);
            for (const auto& part : parts) {
                if (part.begin <= address) begin = std::max<uint64_t>(begin, part.begin + part.bytes.size());
                else end = std::min(end, part.begin);
            }
            copy(begin, end - begin);
            return fetched(address);
        }
        return nullptr;
    }

    void copy(uint64_t begin, uint64_t size) {
        Part part{begin, std::vector<uint8_t>(size)};
        for (uint64_t i = 0; i < size; i++)
            if (const uint8_t* byte = memories->at(begin + i)) part.bytes[i] = *byte;
        parts.push_back(part);
    }

    bool fetch(uint64_t address, uint32_t& data) {
        data = 0;
        for (int half = 0; half < 2; half++) {
            const uint8_t* parcel = fetched(address + 2 * half);
            if (!parcel) return false;
            data |= uint32_t(parcel[0] | parcel[1] << 8) << 16 * half;
            if (half == 0 && (data & 3) != 3) break;
        }
        return true;
    }

    void anew() {
        for (auto& part : parts)
            for (uint64_t i = 0; i < part.bytes.size(); i++)
                if (const uint8_t* byte = memories->at(part.begin + i)) part.bytes[i] = *byte;
    }
};

// A core's records, to which values come later than the instruction left, and its vector unit's events.
struct Books {
    Record* records = nullptr;
    uint64_t capacity = 0, count = 0, last = 0;  // last: cycle in which something happened
    std::deque<uint64_t> owners[64];  // records that wait for a value of the register, in order
    std::deque<uint64_t> stores;      // records of FP stores that have not left the sequencer
    std::vector<Event> events;
    uint64_t owner[4] = {}, behind = 0;  // record of each id of the vector unit; record behind the last one issued

    Record* retire(uint64_t pc, uint64_t cycle, uint32_t word, unsigned writes, uint16_t fcsr, bool float_store) {
        if (count == capacity) return nullptr;
        Record& record = records[count];
        record = {pc, cycle, 0, 0, word, NOTHING, 0, fcsr};
        if (writes >> 6) {
            record.destination = writes & 63;
            record.kind = 1;
            owners[record.destination].push_back(count);
        }
        if (float_store) stores.push_back(count);
        count++;
        last = cycle;
        return &record;
    }

    // A store of 2^size bytes, of which the aligned eight bytes at address hold data.
    static void stored(Record& record, uint64_t address, unsigned size, uint64_t data) {
        record.kind = 2;
        record.address = address;
        record.value = data >> 8 * (address & 7) & (~0ull >> (64 - (8u << size)));
    }

    void float_stored(uint64_t address, unsigned size, uint64_t data) {
        if (stores.empty()) return;
        stored(records[stores.front()], address, size, data);
        stores.pop_front();
    }

    void written(int destination, uint64_t value, uint64_t cycle) {
        if (!owners[destination].empty()) {
            records[owners[destination].front()].value = value;
            owners[destination].pop_front();
        }
        last = cycle;
    }

    void note(uint64_t id, uint64_t place, uint32_t strobe, uint32_t kind, const void* data, size_t size,
              uint64_t cycle) {
        Event event{owner[id], place, strobe, kind, {}};
        if (data) memcpy(event.data, data, size);
        events.push_back(event);
        last = cycle;
    }

    // Vector instructions are issued in the order in which they left the core.
    void issued(uint64_t id, uint64_t pc, uint64_t cycle) {
        while (behind < count && records[behind].pc != pc) behind++;
        owner[id] = behind++;
        last = cycle;
    }
};

}  // namespace
