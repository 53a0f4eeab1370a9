// Non-computational work on the elements of a word; slices as in vector_fma.
module vector_noncomp
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Latency  = 2,
  parameter int unsigned TagWidth = 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                valid_i,
  output logic                ready_o,
  input  vector_request_t     request_i,
  input  logic [TagWidth-1:0] tag_i,
  output logic                valid_o,
  input  logic                ready_i,
  output vector_result_t      result_o,
  output logic [TagWidth-1:0] tag_o
);

  localparam int unsigned InputStages = (Latency + 1) / 2;
  localparam int unsigned OutputStages = Latency / 2;

  vector_request_t given;
  logic [TagWidth-1:0] tag;
  logic given_valid, given_ready;
  pipe_stage #(
    .Width($bits(vector_request_t) + TagWidth),
    .Stages(InputStages)
  ) u_input_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({request_i, tag_i}),
    .valid_o(given_valid),
    .ready_i(given_ready),
    .data_o({given, tag})
  );

  logic [1:0] width;
  logic [3:0] active, holds;
  logic [63:0] a, b;
  float_e fmt;
  assign width  = width_of(given.sew, given.op.a_scale);
  assign fmt    = float_of(width, given.op.bf16, given.e5m2);
  assign active = active_elements(given.active, width);
  assign a      = given.op.swap ? given.b : given.a;
  assign b      = given.op.swap ? given.a : given.b;

  logic [3:0][63:0] result;
  fflags_t [3:0] flags;
  for (genvar i = 0; i < 4; i++) begin : gen_slice
    localparam int unsigned Width = (i == 0) ? 64 : (i == 1) ? 32 : 16;
    logic [63:0] a_element, b_element;
    assign a_element = element(a, width, i);
    assign b_element = element(b, width, i);
    vector_noncomp_slice #(
      .Width(Width)
    ) u_slice (
      .code_i(given.op.code),
      .a_i(a_element[Width-1:0]),
      .b_i(b_element[Width-1:0]),
      .fmt_i(fmt),
      .rm_i(given.rm),
      .result_o(result[i]),
      .holds_o(holds[i]),
      .flags_o(flags[i])
    );
    logic unused_bits;
    assign unused_bits = ^{a_element, b_element};
  end

  vector_result_t result_d;
  always_comb begin
    result_d       = '0;
    result_d.value = collected(result, width);
    if (given.op.compare) begin
      case (width)
        2'd3: result_d.value = {63'b0, holds[0]};
        2'd2: result_d.value = {62'b0, holds[1:0]};
        default: result_d.value = {60'b0, holds};
      endcase
    end
    for (int i = 0; i < 4; i++) if (active[i]) result_d.flags |= flags[i];
  end

  pipe_stage #(
    .Width($bits(vector_result_t) + TagWidth),
    .Stages(OutputStages)
  ) u_output_stage (
    .clk_i,
    .rst_ni,
    .valid_i(given_valid),
    .ready_o(given_ready),
    .data_i({result_d, tag}),
    .valid_o,
    .ready_i,
    .data_o({result_o, tag_o})
  );

  // What only other units look at.
  logic unused;
  assign unused = ^given;

endmodule
