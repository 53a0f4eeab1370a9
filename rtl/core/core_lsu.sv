// The core's own accesses to memory: one load or atomic access is outstanding, and the next may leave in the cycle in
// which its answer comes; stores are not answered. It holds the reservation of the hart.
`include "assertions.svh"

module core_lsu
  import potluck_isa_pkg::*;
  import potluck_core_pkg::*;
  import core_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        valid_i,     // an access that may leave
  output logic        taken_o,     // and does
  input  op_e         op_i,
  input  route_e      route_i,
  input  logic [1:0]  size_i,
  input  logic        zero_extended_i,
  input  logic        in_dram_i,
  input  logic [4:0]  register_i,
  input  logic [63:0] address_i,
  input  logic [63:0] data_i,

  output request_t    request_o,
  input  logic        request_ready_i,
  input  logic        answer_valid_i,
  input  logic [63:0] answer_data_i,

  output write_t      result_o
);

  typedef struct packed {
    logic [4:0] register_number;
    logic [1:0] size;
    logic       zero_extended;
    logic [2:0] offset;
    logic       conditional;  // the result says whether a store failed
    logic       failed;
  } load_t;

  load_t load_q, load_d;
  logic outstanding_q, is_store, reserves, conditional, succeeds;
  logic [63:0] reserved_q;
  logic reserved_valid_q;

  assign is_store    = route_i == ROUTE_STORE;
  assign reserves    = op_i == OP_LR_W || op_i == OP_LR_D;
  assign conditional = op_i == OP_SC_W || op_i == OP_SC_D;
  assign succeeds    = reserved_valid_q & (reserved_q == address_i);

  always_comb begin
    request_o         = '0;
    request_o.valid   = valid_i & (is_store | ~outstanding_q | answer_valid_i);
    request_o.atomic  = route_i == ROUTE_ATOMIC;
    request_o.write   = is_store | (request_o.atomic & ~reserves & (~conditional | succeeds));
    request_o.in_dram = in_dram_i;
    request_o.op      = op_i;
    request_o.size    = size_i;
    request_o.address = address_i;
    request_o.strobe  = strobe_of(address_i[2:0], size_i);
    request_o.data    = to_lanes(data_i, address_i[2:0]);
  end
  assign taken_o = request_o.valid & request_ready_i;

  assign load_d = '{
    register_number: register_i, size: size_i, zero_extended: zero_extended_i, offset: address_i[2:0],
    conditional: conditional, failed: ~succeeds
  };

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      outstanding_q    <= 1'b0;
      reserved_valid_q <= 1'b0;
    end else begin
      if (taken_o && !is_store) outstanding_q <= 1'b1;
      else if (answer_valid_i) outstanding_q <= 1'b0;
      if (taken_o && reserves) reserved_valid_q <= 1'b1;
      else if (taken_o && conditional) reserved_valid_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (taken_o && !is_store) load_q <= load_d;
    if (taken_o && reserves) reserved_q <= address_i;
  end

  assign result_o = '{
    valid: answer_valid_i, register_number: load_q.register_number,
    value: load_q.conditional ? {63'd0, load_q.failed}
                              : from_lanes(answer_data_i, load_q.offset, load_q.size, load_q.zero_extended)
  };

  `POTLUCK_ASSERT(AnswerExpected, answer_valid_i |-> outstanding_q)

endmodule
