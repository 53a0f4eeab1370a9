// Four BF16 multiply-adds side by side: what a 64-bit lane of the modeled core does per cycle in vfmacc.
//
// Interface, registers and cells are those of the VMXDOTP lane, so that the two can be compared.
module bf16_fma_lane
  import fp_pkg::*;
#(
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,

  input  logic                      valid_i,
  output logic                      ready_o,
  input  logic [3:0][15:0]          a_i,
  input  logic [3:0][15:0]          b_i,
  input  logic [3:0][15:0]          c_i,
  input  rm_e                       rm_i,
  input  logic [TagWidth-1:0]       tag_i,

  output logic                      valid_o,
  input  logic                      ready_i,
  output logic [3:0][15:0]          result_o,
  output logic [3:0][4:0]           flags_o,  // of each element, in the order of fflags_t
  output logic [TagWidth-1:0]       tag_o
);

  localparam int unsigned Elements = 4;

  // Every element sees the same handshakes; element 0 carries the tag.
  logic [Elements-1:0] ready, valid;
  logic [Elements-1:0][TagWidth-1:0] tag;

  for (genvar i = 0; i < Elements; i++) begin : gen_element
    fflags_t flags;
    bf16_fma #(
      .Latency(Latency),
      .TagWidth(TagWidth)
    ) u_fma (
      .clk_i,
      .rst_ni,
      .valid_i,
      .ready_o(ready[i]),
      .a_i(a_i[i]),
      .b_i(b_i[i]),
      .c_i(c_i[i]),
      .rm_i,
      .tag_i((i == 0) ? tag_i : '0),
      .valid_o(valid[i]),
      .ready_i,
      .result_o(result_o[i]),
      .flags_o(flags),
      .tag_o(tag[i])
    );
    assign flags_o[i] = flags;
  end

  assign ready_o = ready[0];
  assign valid_o = valid[0];
  assign tag_o   = tag[0];

  // Only element 0 speaks for the lane.
  logic unused;
  assign unused = ^{ready[Elements-1:1], valid[Elements-1:1], tag[Elements-1:1]};

endmodule
