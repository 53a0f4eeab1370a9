// L1: banks of eight bytes, word-interleaved, and who may use them in a cycle. In this order: the old value of an atomic
// access that comes back changed, beats (of the first wide port first), the vector ports, the FP sequencers, the cores.
// Among ports of one kind that core is first whose turn at the bank it is: the one that has not had it last.
// What is granted is answered in the next cycle.
`include "assertions.svh"

module l1_memory
  import cluster_pkg::*;
  import potluck_isa_pkg::*;
#(
  parameter int unsigned Cores     = 1,
  parameter int unsigned Banks     = 16,
  parameter int unsigned Bytes     = 131072,
  parameter int unsigned WidePorts = 3
) (
  input  logic clk_i,
  input  logic rst_ni,

  // Accesses to L1 alone; only the low bits of an address count.
  input  wide_t [WidePorts-1:0]                     wide_i,
  output logic  [WidePorts-1:0]                     wide_granted_o,
  output logic  [WidePorts-1:0][8*BeatBytes-1:0]    wide_data_o,
  input  narrow_t [Cores-1:0][VectorPorts-1:0]      vector_i,
  output logic [Cores-1:0][VectorPorts-1:0]         vector_granted_o,
  output logic [Cores-1:0][VectorPorts-1:0][63:0]   vector_data_o,
  input  narrow_t [Cores-1:0]                       float_i,
  output logic [Cores-1:0]                          float_granted_o,
  output logic [Cores-1:0][63:0]                    float_data_o,
  input  narrow_t [Cores-1:0]                       core_i,
  output logic [Cores-1:0]                          core_granted_o,
  output logic [Cores-1:0][63:0]                    core_data_o
);

  localparam int unsigned Words      = Bytes / 8 / Banks;
  localparam int unsigned IndexWidth = $clog2(Words);
  localparam int unsigned BankWidth  = $clog2(Banks);
  localparam int unsigned Supers     = Banks / SuperBank;
  localparam int unsigned SuperWidth = (Supers > 1) ? $clog2(Supers) : 1;
  localparam int unsigned LogBeat    = $clog2(BeatBytes);
  localparam int unsigned CoreWidth  = (Cores > 1) ? $clog2(Cores) : 1;

  typedef logic [BankWidth-1:0] bank_t;
  typedef logic [IndexWidth-1:0] index_t;
  typedef logic [SuperWidth-1:0] super_t;

  function automatic bank_t bank_of(input logic [63:0] address);
    return bank_t'(address >> 3);
  endfunction

  function automatic index_t index_of(input logic [63:0] address);
    return index_t'(address >> (3 + BankWidth));
  endfunction

  function automatic super_t super_of(input logic [63:0] address);
    return (Supers > 1) ? super_t'(address >> LogBeat) : '0;
  endfunction

  // Atomic accesses: read in one cycle, written back in the next.
  logic [Cores-1:0] returns_q;
  narrow_t [Cores-1:0] returning_q;
  logic [Cores-1:0][63:0] changed;
  logic [Banks-1:0] returning;  // banks that are taken by it
  always_comb begin
    returning = '0;
    for (int unsigned core = 0; core < Cores; core++) begin
      if (returns_q[core]) returning[bank_of(returning_q[core].address)] = 1'b1;
    end
  end

  for (genvar core = 0; core < Cores; core++) begin : gen_atomic
    amo_alu u_amo (
      .op_i     (returning_q[core].op),
      .word_i   (returning_q[core].word),
      .upper_i  (returning_q[core].address[2]),
      .old_i    (core_data_o[core]),
      .operand_i(returning_q[core].data),
      .new_o    (changed[core])
    );
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) returns_q[core] <= 1'b0;
      else returns_q[core] <= core_granted_o[core] & core_i[core].atomic & core_i[core].write;
    end
    always_ff @(posedge clk_i) begin
      if (core_granted_o[core]) returning_q[core] <= core_i[core];
    end
  end

  // Beats.
  logic [Supers-1:0] wide_taken;
  logic [Banks-1:0] after_wide;
  always_comb begin
    wide_taken = '0;
    for (int unsigned port = 0; port < WidePorts; port++) begin
      wide_granted_o[port] = wide_i[port].valid & ~wide_taken[super_of(wide_i[port].address)] &
                             (returning[SuperBank*super_of(wide_i[port].address)+:SuperBank] == '0);
      if (wide_granted_o[port]) wide_taken[super_of(wide_i[port].address)] = 1'b1;
    end
    for (int unsigned bank = 0; bank < Banks; bank++) begin
      after_wide[bank] = returning[bank] | wide_taken[bank/SuperBank];
    end
  end

  // Whose turn it is at each bank.
  logic [Banks-1:0][CoreWidth-1:0] turn_q;
  function automatic logic [CoreWidth-1:0] in_turn(
    input logic [CoreWidth-1:0] first, input int unsigned place
  );
    return CoreWidth'((32'(first) + place) % Cores);
  endfunction

  logic [Banks-1:0] after_vector, after_float, after_core;
  logic [Banks-1:0][CoreWidth-1:0] winner;

  always_comb begin
    vector_granted_o = '0;
    after_vector     = after_wide;
    for (int unsigned bank = 0; bank < Banks; bank++) begin
      for (int unsigned place = 0; place < Cores; place++) begin
        logic [CoreWidth-1:0] core;
        core = in_turn(turn_q[bank], place);
        for (int unsigned port = 0; port < VectorPorts; port++) begin
          if (vector_i[core][port].valid && bank_of(vector_i[core][port].address) == bank_t'(bank) &&
              !after_vector[bank]) begin
            vector_granted_o[core][port] = 1'b1;
            after_vector[bank]           = 1'b1;
          end
        end
      end
    end
  end

  always_comb begin
    float_granted_o = '0;
    after_float     = after_vector;
    for (int unsigned bank = 0; bank < Banks; bank++) begin
      for (int unsigned place = 0; place < Cores; place++) begin
        logic [CoreWidth-1:0] core;
        core = in_turn(turn_q[bank], place);
        if (float_i[core].valid && bank_of(float_i[core].address) == bank_t'(bank) && !after_float[bank]) begin
          float_granted_o[core] = 1'b1;
          after_float[bank]     = 1'b1;
        end
      end
    end
  end

  always_comb begin
    core_granted_o = '0;
    after_core     = after_float;
    for (int unsigned bank = 0; bank < Banks; bank++) begin
      for (int unsigned place = 0; place < Cores; place++) begin
        logic [CoreWidth-1:0] core;
        core = in_turn(turn_q[bank], place);
        if (core_i[core].valid && bank_of(core_i[core].address) == bank_t'(bank) && !after_core[bank]) begin
          core_granted_o[core] = 1'b1;
          after_core[bank]     = 1'b1;
        end
      end
    end
  end

  // What each bank does.
  logic [Banks-1:0] request, write, narrow;
  index_t [Banks-1:0] index;
  logic [Banks-1:0][7:0] strobe;
  logic [Banks-1:0][63:0] data, read;

  always_comb begin
    request = after_core;
    write   = '0;
    index   = '0;
    strobe  = '0;
    data    = '0;
    winner  = turn_q;
    narrow  = '0;
    for (int unsigned bank = 0; bank < Banks; bank++) begin
      for (int unsigned port = 0; port < WidePorts; port++) begin
        if (wide_granted_o[port] && super_of(wide_i[port].address) == super_t'(bank / SuperBank)) begin
          write[bank]  = wide_i[port].write;
          index[bank]  = index_of(wide_i[port].address);
          strobe[bank] = wide_i[port].strobe[8*(bank%SuperBank)+:8];
          data[bank]   = wide_i[port].data[64*(bank%SuperBank)+:64];
        end
      end
      for (int unsigned core = 0; core < Cores; core++) begin
        for (int unsigned port = 0; port < VectorPorts; port++) begin
          if (vector_granted_o[core][port] && bank_of(vector_i[core][port].address) == bank_t'(bank)) begin
            write[bank]  = vector_i[core][port].write;
            index[bank]  = index_of(vector_i[core][port].address);
            strobe[bank] = vector_i[core][port].strobe;
            data[bank]   = vector_i[core][port].data;
            narrow[bank] = 1'b1;
            winner[bank] = CoreWidth'(core);
          end
        end
        if (float_granted_o[core] && bank_of(float_i[core].address) == bank_t'(bank)) begin
          write[bank]  = float_i[core].write;
          index[bank]  = index_of(float_i[core].address);
          strobe[bank] = float_i[core].strobe;
          data[bank]   = float_i[core].data;
          narrow[bank] = 1'b1;
          winner[bank] = CoreWidth'(core);
        end
        if (core_granted_o[core] && bank_of(core_i[core].address) == bank_t'(bank)) begin
          write[bank]  = core_i[core].write & ~core_i[core].atomic;
          index[bank]  = index_of(core_i[core].address);
          strobe[bank] = core_i[core].strobe;
          data[bank]   = core_i[core].data;
          narrow[bank] = 1'b1;
          winner[bank] = CoreWidth'(core);
        end
        if (returns_q[core] && bank_of(returning_q[core].address) == bank_t'(bank)) begin
          write[bank]  = 1'b1;
          index[bank]  = index_of(returning_q[core].address);
          strobe[bank] = '1;
          data[bank]   = changed[core];
        end
      end
    end
  end

  for (genvar bank = 0; bank < Banks; bank++) begin : gen_bank
    l1_bank #(
      .Words(Words)
    ) u_bank (
      .clk_i,
      .request_i(request[bank]),
      .write_i  (write[bank]),
      .index_i  (index[bank]),
      .strobe_i (strobe[bank]),
      .data_i   (data[bank]),
      .data_o   (read[bank])
    );
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) turn_q[bank] <= '0;
      else if (narrow[bank]) turn_q[bank] <= in_turn(winner[bank], 1);
    end
  end

  // Answers come from the bank that was asked.
  super_t [WidePorts-1:0] wide_from_q;
  bank_t [Cores-1:0][VectorPorts-1:0] vector_from_q;
  bank_t [Cores-1:0] float_from_q, core_from_q;
  always_ff @(posedge clk_i) begin
    for (int unsigned port = 0; port < WidePorts; port++) wide_from_q[port] <= super_of(wide_i[port].address);
    for (int unsigned core = 0; core < Cores; core++) begin
      for (int unsigned port = 0; port < VectorPorts; port++) begin
        vector_from_q[core][port] <= bank_of(vector_i[core][port].address);
      end
      float_from_q[core] <= bank_of(float_i[core].address);
      core_from_q[core]  <= bank_of(core_i[core].address);
    end
  end

  for (genvar port = 0; port < WidePorts; port++) begin : gen_wide_data
    for (genvar bank = 0; bank < SuperBank; bank++) begin : gen_word
      assign wide_data_o[port][64*bank+:64] = read[SuperBank*wide_from_q[port]+bank];
    end
  end
  for (genvar core = 0; core < Cores; core++) begin : gen_data
    for (genvar port = 0; port < VectorPorts; port++) begin : gen_port
      assign vector_data_o[core][port] = read[vector_from_q[core][port]];
    end
    assign float_data_o[core] = read[float_from_q[core]];
    assign core_data_o[core]  = read[core_from_q[core]];
  end

  // Bits of an address that L1 does not look at.
  logic unused;
  assign unused = ^{wide_i, vector_i, float_i, core_i, returning_q};

  for (genvar core = 0; core < Cores; core++) begin : gen_assertions
    // The old value that comes back is written before anybody else has the bank.
    `POTLUCK_ASSERT(Returns, returns_q[core] |-> !narrow[bank_of(returning_q[core].address)])
  end

endmodule
