// The functions of a harness that `potluck/hdl/harness.py` calls. Before it stands `Top`, a `Harness` with
//   begin()   reset, and what comes before cycle 0
//   step()    one cycle
//   finish()  what comes behind the last one; whether it went well
//   idle()    whether nothing but the cores is under way
//   moved()   the last cycle in which anything but the cores did something
//   wrong()   whether a transfer left the memories
#pragma once

extern "C" Top* harness_new(const Settings* settings, uint8_t* l1, uint64_t l1_begin, uint64_t l1_size, uint8_t* dram,
                            uint64_t dram_begin, uint64_t dram_size) {
    auto* harness = new Top;
    harness->context.fatalOnError(false);  // a failed assertion is to end the run, not the process
#if VM_TRACE
    harness->context.traceEverOn(true);
#endif
    harness->top = std::make_unique<Model>(&harness->context);
    harness->set = *settings;
    harness->memories.regions[0] = {l1, l1_begin, l1_size};
    harness->memories.regions[1] = {dram, dram_begin, dram_size};
    harness->cores.resize(settings->harts);
    for (auto& core : harness->cores) core.code.memories = &harness->memories;
    return harness;
}

// A range of addresses that can be fetched from, as memory holds it now.
extern "C" void harness_code(Top* harness, uint64_t begin, uint64_t size) {
    for (auto& core : harness->cores) core.code.copy(begin, size);
}

extern "C" void harness_books(Top* harness, uint64_t core, Record* records, uint64_t capacity) {
    harness->cores[core].books.records = records;
    harness->cores[core].books.capacity = capacity;
}

// Write a waveform from a cycle on.
extern "C" void harness_waves(Top* harness, const char* path, uint64_t from) {
#if VM_TRACE
    harness->top->trace(&harness->vcd, 99);
    harness->vcd.open(path);
    harness->waves_from = from;
#else
    (void)harness, (void)path, (void)from;
#endif
}

// Runs until core 0 has stopped and nothing is under way, at most `limit` cycles, or to as many instructions as there is
// room for. Returns 0; -1 if nothing happens for long, -2 if an assertion failed, -3 if memory was accessed where there is
// none, -4 if a transfer of the DMA was.
extern "C" int64_t harness_run(Top* harness, uint64_t limit) {
    auto& h = *harness;
    int64_t failed = 0;
    h.begin();
    while (!failed && h.cycle < limit) {
        uint64_t last = h.moved();
        bool full = false;
        for (const auto& core : h.cores) {
            last = std::max(last, core.books.last);
            full |= core.books.count == core.books.capacity;
        }
        const bool over = h.cores[0].ended && h.idle();
        if (full || (over && h.cycle - last > h.set.quiet)) break;
        h.step();
        if (h.context.gotError()) failed = -2;
        else if (h.memories.lost) failed = -3;
        else if (h.wrong()) failed = -4;
        else if (!over && h.cycle > last && h.cycle - last > 64 * h.set.quiet) failed = -1;
    }
    if (!h.finish() && !failed) failed = -2;
#if VM_TRACE
    h.vcd.close();
#endif
    return failed;
}

// cycle, cause, pc and address of a core's trap, and how many instructions it retired.
extern "C" void harness_end(Top* harness, uint64_t number, uint64_t* end) {
    const auto& core = harness->cores[number];
    end[0] = core.ended ? core.end : harness->cycle;
    end[1] = core.ended ? bits(harness->top->trap_cause_o, 4 * number, 4) : 0;
    end[2] = element(harness->top->trap_pc_o, int(number));
    end[3] = element(harness->top->trap_address_o, int(number));
    end[4] = core.books.count;
}

// The events of a core so far, in the order in which they happened.
extern "C" uint64_t harness_events(Top* harness, uint64_t number, const Event** events) {
    *events = harness->cores[number].books.events.data();
    return harness->cores[number].books.events.size();
}

extern "C" void harness_free(Top* harness) { delete harness; }
