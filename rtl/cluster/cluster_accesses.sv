// Where a core's accesses go: to L1, to DRAM, or to the cluster's registers; and when L1's answers are there. Answers of
// DRAM go past this unit.
`include "assertions.svh"

module cluster_accesses
  import potluck_isa_pkg::*;
  import core_pkg::*;
  import cluster_pkg::*;
#(
  parameter int unsigned Load       = 3,  // cycles from a request to the instruction that needs its answer
  parameter int unsigned Atomic     = 3,
  parameter int unsigned FloatLoad  = 3,
  parameter int unsigned VectorLoad = 5,  // to the register file
  parameter bit SharedScalarPort    = 1'b0  // core and FP sequencer have one port of L1 together
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  memory_map_t map_i,

  // Of the core (bit 0) and the FP sequencer (bit 1).
  input  logic [1:0]       valid_i,
  output logic [1:0]       ready_o,
  input  logic [1:0]       in_dram_i,
  input  narrow_t [1:0]    request_i,      // its bit `valid` is left out
  output logic             core_valid_o,   // answers from L1 and registers
  output logic [63:0]      core_data_o,
  output logic             float_valid_o,
  output logic [63:0]      float_data_o,

  input  logic [VectorPorts-1:0]       port_valid_i,
  output logic [VectorPorts-1:0]       port_ready_o,
  input  narrow_t [VectorPorts-1:0]    port_request_i,
  output logic [VectorPorts-1:0]       port_answer_o,
  output logic [VectorPorts-1:0][63:0] port_data_o,

  output narrow_t                      near_core_o,
  input  logic                         near_core_granted_i,
  input  logic [63:0]                  near_core_data_i,
  output narrow_t                      near_float_o,
  input  logic                         near_float_granted_i,
  input  logic [63:0]                  near_float_data_i,
  output narrow_t [VectorPorts-1:0]    near_vector_o,
  input  logic [VectorPorts-1:0]       near_vector_granted_i,
  input  logic [VectorPorts-1:0][63:0] near_vector_data_i,

  output logic                         register_o,
  output logic [1:0]                   register_number_o,
  input  logic                         register_answer_i,
  input  logic [63:0]                  register_data_i,

  // DRAM: what is asked for, and which loads of the vector unit it answers.
  output logic [1:0]                   far_valid_o,
  input  logic [1:0]                   far_ready_i,
  output logic [VectorPorts-1:0]       far_port_valid_o,
  input  logic [VectorPorts-1:0]       far_port_ready_i,
  input  logic [VectorPorts-1:0]       far_port_answer_i
);

  localparam int unsigned PendingWidth = 4;

  function automatic logic in_l1(input logic [63:0] begin_l1, input logic [63:0] bytes, input logic [63:0] address);
    return address - begin_l1 < bytes;
  endfunction

  // The core. What is neither in DRAM nor in L1 is a register.
  logic core_near, answers_q, atomic_q;
  assign core_near = in_l1(map_i.l1_begin, map_i.l1_bytes, request_i[0].address);
  always_comb begin
    near_core_o       = request_i[0];
    near_core_o.valid = valid_i[0] & ~in_dram_i[0] & core_near & ~(SharedScalarPort & near_float_o.valid);
  end
  assign far_valid_o       = valid_i & in_dram_i;
  assign register_o        = valid_i[0] & ~in_dram_i[0] & ~core_near;
  assign register_number_o = request_i[0].address[4:3];
  assign ready_o[0]        = in_dram_i[0] ? far_ready_i[0] : (~core_near | near_core_granted_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) answers_q <= 1'b0;
    else answers_q <= near_core_granted_i & (~request_i[0].write | request_i[0].atomic);
  end
  always_ff @(posedge clk_i) atomic_q <= request_i[0].atomic;

  logic load_ready, atomic_ready, load_valid, atomic_valid;
  logic [63:0] load_data, atomic_data;
  pipe_stage #(
    .Width (64),
    .Stages(Load - 2)
  ) u_load (
    .clk_i,
    .rst_ni,
    .valid_i((answers_q & ~atomic_q) | register_answer_i),
    .ready_o(load_ready),
    .data_i (register_answer_i ? register_data_i : near_core_data_i),
    .valid_o(load_valid),
    .ready_i(1'b1),
    .data_o (load_data)
  );
  pipe_stage #(
    .Width (64),
    .Stages(Atomic - 2)
  ) u_atomic (
    .clk_i,
    .rst_ni,
    .valid_i(answers_q & atomic_q),
    .ready_o(atomic_ready),
    .data_i (near_core_data_i),
    .valid_o(atomic_valid),
    .ready_i(1'b1),
    .data_o (atomic_data)
  );
  assign core_valid_o = load_valid | atomic_valid;
  assign core_data_o  = atomic_valid ? atomic_data : load_data;

  // The FP sequencer.
  logic float_answers_q, float_ready;
  always_comb begin
    near_float_o       = request_i[1];
    near_float_o.valid = valid_i[1] & ~in_dram_i[1];
  end
  assign ready_o[1] = in_dram_i[1] ? far_ready_i[1] : near_float_granted_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) float_answers_q <= 1'b0;
    else float_answers_q <= near_float_granted_i & ~request_i[1].write;
  end
  pipe_stage #(
    .Width (64),
    .Stages(FloatLoad - 2)
  ) u_float (
    .clk_i,
    .rst_ni,
    .valid_i(float_answers_q),
    .ready_o(float_ready),
    .data_i (near_float_data_i),
    .valid_o(float_valid_o),
    .ready_i(1'b1),
    .data_o (float_data_o)
  );

  // The vector unit's ports, each of which is answered in order: it asks L1 when DRAM owes it nothing.
  logic [VectorPorts-1:0] port_pipe_ready;
  for (genvar port = 0; port < VectorPorts; port++) begin : gen_port
    logic near, answers, owes;
    logic [PendingWidth-1:0] pending_q;
    assign near = in_l1(map_i.l1_begin, map_i.l1_bytes, port_request_i[port].address);
    always_comb begin
      near_vector_o[port]       = port_request_i[port];
      near_vector_o[port].valid = port_valid_i[port] & near & (port_request_i[port].write | (pending_q == '0));
    end
    assign far_port_valid_o[port] = port_valid_i[port] & ~near;
    assign owes                   = far_port_valid_o[port] & far_port_ready_i[port] & ~port_request_i[port].write;
    assign port_ready_o[port]     = near ? near_vector_granted_i[port] : far_port_ready_i[port];
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        answers   <= 1'b0;
        pending_q <= '0;
      end else begin
        answers   <= near_vector_granted_i[port] & ~port_request_i[port].write;
        pending_q <= pending_q + PendingWidth'(owes) - PendingWidth'(far_port_answer_i[port]);
      end
    end
    pipe_stage #(
      .Width (64),
      .Stages(VectorLoad - 4)
    ) u_answer (
      .clk_i,
      .rst_ni,
      .valid_i(answers),
      .ready_o(port_pipe_ready[port]),
      .data_i (near_vector_data_i[port]),
      .valid_o(port_answer_o[port]),
      .ready_i(1'b1),
      .data_o (port_data_o[port])
    );

    `POTLUCK_ASSERT(OneAnswer, !(port_answer_o[port] && far_port_answer_i[port]))
    `POTLUCK_ASSERT(Owed, far_port_answer_i[port] |-> pending_q != '0)
  end

  logic unused;
  assign unused = ^{map_i, request_i, load_ready, atomic_ready, float_ready, port_pipe_ready};

endmodule
