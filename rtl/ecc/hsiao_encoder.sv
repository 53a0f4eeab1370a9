// Hsiao SEC-DED encoder: (39,32), (72,64), (137,128) or (272,256), with Latency registers at its output.
module hsiao_encoder
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned DataBits = 64,
  parameter int unsigned Latency  = 0,
  localparam int unsigned CheckBits = hsiao_check_bits(DataBits)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 valid_i,
  output logic                 ready_o,
  input  logic [DataBits-1:0]  data_i,

  output logic                 valid_o,
  input  logic                 ready_i,
  output logic [DataBits-1:0]  data_o,
  output logic [CheckBits-1:0] checks_o
);

  logic [CheckBits-1:0] checks;
  logic [DataBits-1:0][CheckBits-1:0] unused_columns;

  hsiao_checks #(
    .DataBits(DataBits)
  ) u_checks (
    .data_i,
    .checks_o(checks),
    .columns_o(unused_columns)
  );

  pipe_stage #(
    .Width(DataBits + CheckBits),
    .Stages(Latency)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({data_i, checks}),
    .valid_o,
    .ready_i,
    .data_o({data_o, checks_o})
  );

endmodule
