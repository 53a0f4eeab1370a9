// Lanes side by side, as a vector core's issue slot feeds them: one element group a cycle.
//
// The register at the input cuts the ready path and is the first of Latency + 1 cycles from an accepted operand to
// its result. In scalar forms lane 0's first operand and scale serve all lanes. Disabled lanes (elements from vl on)
// give no flags and their results are not to be written.
`include "assertions.svh"

module mxdotp_unit
  import fp_pkg::*;
  import mxdotp_pkg::*;
#(
  parameter bit EnableFp8  = 1'b1,
  parameter bit EnableFp6  = 1'b0,
  parameter bit EnableFp4  = 1'b1,
  parameter bit EnableInt8 = 1'b0,
  parameter int unsigned Lanes    = 4,
  parameter int unsigned Latency  = 3,  // of a lane
  parameter int unsigned TagWidth = 4
) (
  input  logic                               clk_i,
  input  logic                               rst_ni,

  input  logic                               valid_i,
  output logic                               ready_o,
  input  logic [Lanes-1:0]                   enable_i,
  input  logic                               scalar_i,
  input  logic [Lanes-1:0][OperandWidth-1:0] a_i,
  input  logic [Lanes-1:0][OperandWidth-1:0] b_i,
  input  logic [Lanes-1:0][7:0]              scale_a_i,
  input  logic [Lanes-1:0][7:0]              scale_b_i,
  input  logic [Lanes-1:0][31:0]             acc_i,
  input  elem_fmt_e                          elem_fmt_i,
  input  fp_fmt_e                            acc_fmt_i,
  input  rm_e                                rm_i,
  input  logic [TagWidth-1:0]                tag_i,

  output logic                               valid_o,
  input  logic                               ready_i,
  output logic [Lanes-1:0]                   enable_o,
  output logic [Lanes-1:0][31:0]             result_o,
  output fflags_t                            flags_o,  // of all enabled lanes
  output logic [TagWidth-1:0]                tag_o
);

  typedef struct packed {
    logic [Lanes-1:0]                   enable;
    logic                               scalar;
    logic [Lanes-1:0][OperandWidth-1:0] a;
    logic [Lanes-1:0][OperandWidth-1:0] b;
    logic [Lanes-1:0][7:0]              scale_a;
    logic [Lanes-1:0][7:0]              scale_b;
    logic [Lanes-1:0][31:0]             acc;
    elem_fmt_e                          elem_fmt;
    fp_fmt_e                            acc_fmt;
    rm_e                                rm;
    logic [TagWidth-1:0]                tag;
  } operands_t;

  operands_t operands_d, operands_q;
  logic operands_valid;
  logic [Lanes-1:0] lane_ready, lane_valid;
  logic [Lanes-1:0][4:0] lane_flags;

  assign operands_d = {enable_i, scalar_i, a_i, b_i, scale_a_i, scale_b_i, acc_i, elem_fmt_i, acc_fmt_i, rm_i, tag_i};

  spill_register #(
    .Width($bits(operands_t))
  ) u_input (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i(operands_d),
    .valid_o(operands_valid),
    .ready_i(lane_ready[0]),
    .data_o(operands_q)
  );

  // Every lane sees the same handshakes; lane 0 also carries what belongs to the group.
  localparam int unsigned GroupWidth = Lanes + TagWidth;
  logic [Lanes-1:0][GroupWidth-1:0] group;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    fflags_t one_lane;
    mxdotp_lane #(
      .EnableFp8(EnableFp8),
      .EnableFp6(EnableFp6),
      .EnableFp4(EnableFp4),
      .EnableInt8(EnableInt8),
      .Latency(Latency),
      .TagWidth(GroupWidth)
    ) u_lane (
      .clk_i,
      .rst_ni,
      .valid_i(operands_valid),
      .ready_o(lane_ready[lane]),
      .a_i(operands_q.scalar ? operands_q.a[0] : operands_q.a[lane]),
      .b_i(operands_q.b[lane]),
      .scale_a_i(operands_q.scalar ? operands_q.scale_a[0] : operands_q.scale_a[lane]),
      .scale_b_i(operands_q.scale_b[lane]),
      .acc_i(operands_q.acc[lane]),
      .elem_fmt_i(operands_q.elem_fmt),
      .acc_fmt_i(operands_q.acc_fmt),
      .rm_i(operands_q.rm),
      .tag_i((lane == 0) ? {operands_q.enable, operands_q.tag} : '0),
      .valid_o(lane_valid[lane]),
      .ready_i,
      .result_o(result_o[lane]),
      .flags_o(one_lane),
      .tag_o(group[lane])
    );
    assign lane_flags[lane] = one_lane;
  end

  assign valid_o = lane_valid[0];
  assign {enable_o, tag_o} = group[0];

  logic [4:0] flags;
  always_comb begin
    flags = '0;
    for (int lane = 0; lane < Lanes; lane++) begin
      if (enable_o[lane]) flags = flags | lane_flags[lane];
    end
  end
  assign flags_o = flags;

  if (Lanes > 1) begin : gen_unused
    logic unused;
    assign unused = ^{group[Lanes-1:1]};
  end

  `POTLUCK_ASSERT(LanesAgree, (&lane_valid || !(|lane_valid)) && (&lane_ready || !(|lane_ready)))

endmodule
