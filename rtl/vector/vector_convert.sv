// Conversions of the elements of a word; slices as in vector_fma, each of which has the wider of operand and result.
module vector_convert
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Latency  = 3,
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

  logic [1:0] d_width, a_width;
  assign d_width = width_of(request_i.sew, request_i.op.d_scale);
  assign a_width = width_of(request_i.sew, request_i.op.a_scale);

  typedef struct packed {
    logic [1:0]          width;  // of the result
    logic [3:0]          active;
    logic [TagWidth-1:0] tag;
  } context_t;
  context_t ctx_in, ctx_out;
  assign ctx_in = {d_width, active_elements(request_i.active, widest_of(d_width, a_width)), tag_i};

  logic [3:0] ready, valid;
  logic [3:0][63:0] result;
  fflags_t [3:0] flags;

  for (genvar i = 0; i < 4; i++) begin : gen_slice
    localparam int unsigned Width = (i == 0) ? 64 : (i == 1) ? 32 : 16;
    localparam int unsigned SliceTag = (i == 0) ? $bits(context_t) : 1;
    logic [63:0] a_element;
    logic [SliceTag-1:0] slice_tag;
    assign a_element = element(request_i.a, a_width, i);
    vector_convert_slice #(
      .Width(Width),
      .Latency(Latency),
      .TagWidth(SliceTag)
    ) u_slice (
      .clk_i,
      .rst_ni,
      .valid_i,
      .ready_o(ready[i]),
      .op_i(request_i.op),
      .a_i(a_element[Width-1:0]),
      .a_width_i(a_width),
      .d_width_i(d_width),
      .a_fmt_i(float_of(a_width, request_i.op.bf16, request_i.e5m2)),
      .d_fmt_i(float_of(d_width, request_i.op.bf16, request_i.e5m2)),
      .rm_i(request_i.rm),
      .tag_i(SliceTag'(ctx_in)),
      .valid_o(valid[i]),
      .ready_i,
      .result_o(result[i]),
      .flags_o(flags[i]),
      .tag_o(slice_tag)
    );
    // What of a word does not belong to the slice.
    logic unused_bits;
    assign unused_bits = ^a_element;
    if (i == 0) begin : gen_tag
      assign ctx_out = slice_tag;
    end else begin : gen_no_tag
      logic unused_tag;
      assign unused_tag = slice_tag;
    end
  end

  // The first slice speaks for all.
  assign ready_o = ready[0];
  assign valid_o = valid[0];
  assign tag_o   = ctx_out.tag;

  // A narrower result has slices without an element: they convert the zero that lies beyond the word.
  always_comb begin
    result_o       = '0;
    result_o.value = collected(result, ctx_out.width);
    for (int i = 0; i < 4; i++) if (ctx_out.active[i]) result_o.flags |= flags[i];
  end

  // What only other units look at.
  logic unused;
  assign unused = ^{ready[3:1], valid[3:1], request_i};

endmodule
