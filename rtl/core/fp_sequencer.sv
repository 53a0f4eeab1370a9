// What the core offloads: two instructions may wait here, and the first one leaves when the FP registers that it names
// are free. FP loads, stores and moves are carried out here; everything else is handed to the vector unit with its
// scalar operands, in order, and acknowledged by being taken. Results come back whenever they are there.
`include "assertions.svh"

module fp_sequencer
  import potluck_isa_pkg::*;
  import potluck_core_pkg::*;
  import core_pkg::*;
#(
  parameter int unsigned ResultLatency = 1,  // cycles that a result for the core spends on its way
  parameter int unsigned Loads         = 4   // outstanding FP loads
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        offload_valid_i,
  output logic        offload_ready_o,
  input  offload_t    offload_i,
  output logic        idle_o,            // nothing waits here
  output logic        loads_o,           // an access waits here that the core's own may not overtake
  output logic        stores_o,

  // An instruction for the vector unit, and what it answers.
  output logic        vector_valid_o,
  input  logic        vector_ready_i,
  output offload_t    vector_o,
  output logic [63:0] vector_fs1_o,
  output logic [63:0] vector_fs2_o,
  output logic [63:0] vector_fs3_o,
  input  write_t      vector_float_i,    // a result for an FP register
  input  logic        vector_loads_i,    // accesses under way
  input  logic        vector_stores_i,

  // Memory: L1 and DRAM answer each in order.
  output request_t    request_o,
  input  logic        request_ready_i,
  input  logic        near_valid_i,
  input  logic [63:0] near_data_i,
  input  logic        far_valid_i,
  input  logic [63:0] far_data_i,

  output write_t      integer_o,         // the result of a move
  output write_t [FloatWritePorts-1:0] writes_o
);

  offload_t head;
  logic waits, leaves;

  spill_register #(
    .Width($bits(offload_t))
  ) u_queue (
    .clk_i,
    .rst_ni,
    .valid_i(offload_valid_i),
    .ready_o(offload_ready_o),
    .data_i (offload_i),
    .valid_o(waits),
    .ready_i(leaves),
    .data_o (head)
  );

  // Registers.
  logic [31:0] busy;
  logic [63:0] fs1, fs2, fs3;
  write_t [FloatWritePorts-1:0] writes;
  logic is_load, is_store, is_move, is_vector, claims;

  core_registers #(
    .ReadPorts (3),
    .WritePorts(FloatWritePorts),
    .ZeroFirst (1'b0)
  ) u_registers (
    .clk_i,
    .rst_ni,
    .read_i   ({head.fs3, head.fs2, head.fs1}),
    .value_o  ({fs3, fs2, fs1}),
    .busy_o   (busy),
    .claim_i  (claims),
    .claimed_i(head.fd),
    .write_i  (writes)
  );

  assign is_load   = head.facts.route == ROUTE_FLOAT_LOAD;
  assign is_store  = head.facts.route == ROUTE_FLOAT_STORE;
  assign is_move   = head.facts.route == ROUTE_MOVE;
  assign is_vector = ~(is_load | is_store | is_move);

  // Readiness.
  logic registers_free, load_free, load_ok, store_ok;
  logic [$clog2(Loads+1)-1:0] outstanding_q;

  assign registers_free = ~((head.facts.fd & busy[head.fd]) | (head.facts.fs1 & busy[head.fs1]) |
                            (head.facts.fs2 & busy[head.fs2]) | (head.facts.fs3 & busy[head.fs3]));
  assign load_free = outstanding_q != ($clog2(Loads+1))'(Loads);
  assign load_ok   = is_load & load_free & ~vector_stores_i;
  assign store_ok  = is_store & ~vector_stores_i & ~vector_loads_i;

  assign vector_valid_o = waits & registers_free & is_vector;
  assign vector_o       = head;
  assign vector_fs1_o   = fs1;
  assign vector_fs2_o   = fs2;
  assign vector_fs3_o   = fs3;

  always_comb begin
    request_o         = '0;
    request_o.valid   = waits & registers_free & (load_ok | store_ok);
    request_o.write   = is_store;
    request_o.in_dram = head.in_dram;
    request_o.op      = head.op;
    request_o.size    = head.facts.size;
    request_o.address = head.a;
    request_o.strobe  = strobe_of(head.a[2:0], head.facts.size);
    request_o.data    = to_lanes(fs2, head.a[2:0]);
  end

  assign leaves = waits & registers_free &
                  (is_move | (is_vector & vector_ready_i) | ((load_ok | store_ok) & request_ready_i));
  assign claims = leaves & head.facts.fd & ~is_move;

  // Loads that are under way, by memory.
  typedef struct packed {
    logic [4:0] fd;
    logic [1:0] size;
    logic [2:0] offset;
  } load_t;

  load_t near_load, far_load;
  logic near_known, far_known, near_room, far_room;
  logic [$clog2(Loads+1)-1:0] near_usage, far_usage;

  fifo #(
    .Width($bits(load_t)),
    .Depth(Loads)
  ) u_near (
    .clk_i,
    .rst_ni,
    .valid_i(leaves & is_load & ~head.in_dram),
    .ready_o(near_room),
    .data_i ({head.fd, head.facts.size, head.a[2:0]}),
    .valid_o(near_known),
    .ready_i(near_valid_i),
    .data_o (near_load),
    .usage_o(near_usage)
  );

  fifo #(
    .Width($bits(load_t)),
    .Depth(Loads)
  ) u_far (
    .clk_i,
    .rst_ni,
    .valid_i(leaves & is_load & head.in_dram),
    .ready_o(far_room),
    .data_i ({head.fd, head.facts.size, head.a[2:0]}),
    .valid_o(far_known),
    .ready_i(far_valid_i),
    .data_o (far_load),
    .usage_o(far_usage)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) outstanding_q <= '0;
    else outstanding_q <= outstanding_q + ($clog2(Loads+1))'(leaves & is_load)
                          - ($clog2(Loads+1))'(near_valid_i) - ($clog2(Loads+1))'(far_valid_i);
  end

  // Results.
  always_comb begin
    writes[0] = '{valid: near_valid_i, register_number: near_load.fd,
                  value: boxed(near_data_i >> {near_load.offset, 3'b000}, near_load.size)};
    writes[1] = '{valid: far_valid_i, register_number: far_load.fd,
                  value: boxed(far_data_i >> {far_load.offset, 3'b000}, far_load.size)};
    writes[2] = '{valid: leaves & is_move & head.facts.fd, register_number: head.fd,
                  value: boxed(head.a, head.facts.size)};
    writes[3] = vector_float_i;
  end
  assign writes_o = writes;

  logic moved_ready;
  pipe_stage #(
    .Width (69),
    .Stages(ResultLatency)
  ) u_moved (
    .clk_i,
    .rst_ni,
    .valid_i(leaves & is_move & head.facts.rd),
    .ready_o(moved_ready),
    .data_i ({head.rd, extended(fs1, head.facts.size, 1'b0)}),
    .valid_o(integer_o.valid),
    .ready_i(1'b1),
    .data_o ({integer_o.register_number, integer_o.value})
  );

  // What waits here, without what leaves: a request of the core's in the same cycle comes after it. The vector unit
  // knows of an access only when it has taken it.
  logic [1:0] loads_q, stores_q, vector_loads_q, vector_stores_q;

  function automatic logic [1:0] counted(
    input logic [1:0] count, input route_e route, input logic enters, input route_e entering, input logic leaving,
    input route_e head_route
  );
    return count + 2'(enters && entering == route) - 2'(leaving && head_route == route);
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      loads_q         <= '0;
      stores_q        <= '0;
      vector_loads_q  <= '0;
      vector_stores_q <= '0;
    end else begin
      loads_q <= counted(loads_q, ROUTE_FLOAT_LOAD, offload_valid_i & offload_ready_o, offload_i.facts.route, leaves,
                         head.facts.route);
      stores_q <= counted(stores_q, ROUTE_FLOAT_STORE, offload_valid_i & offload_ready_o, offload_i.facts.route,
                          leaves, head.facts.route);
      vector_loads_q <= counted(vector_loads_q, ROUTE_VECTOR_LOAD, offload_valid_i & offload_ready_o,
                                offload_i.facts.route, leaves, head.facts.route);
      vector_stores_q <= counted(vector_stores_q, ROUTE_VECTOR_STORE, offload_valid_i & offload_ready_o,
                                 offload_i.facts.route, leaves, head.facts.route);
    end
  end

  assign loads_o  = (loads_q != 2'(leaves & is_load)) | (vector_loads_q != '0) | vector_loads_i;
  assign stores_o = (stores_q != 2'(leaves & is_store)) | (vector_stores_q != '0) | vector_stores_i;
  assign idle_o   = ~waits;

  logic unused;
  assign unused = ^{near_room, far_room, near_usage, far_usage, near_known, far_known, moved_ready};

  `POTLUCK_ASSERT(NearKnown, near_valid_i |-> near_known)
  `POTLUCK_ASSERT(FarKnown, far_valid_i |-> far_known)
  `POTLUCK_ASSERT(Room, !(leaves && is_load) || (near_room && far_room))

endmodule
