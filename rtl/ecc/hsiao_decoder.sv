// Hsiao SEC-DED decoder: corrects any one bit, detects any two, of data and check bits together.
//
// Latency registers are dealt out after the syndrome first, then at the output. Beyond two wrong bits the code promises
// nothing: the syndrome of an odd number of them may be that of one bit, which is then "corrected".
module hsiao_decoder
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
  input  logic [CheckBits-1:0] checks_i,
  input  logic                 null_i,    // what cannot be corrected becomes zero, otherwise it passes as it is

  output logic                 valid_o,
  input  logic                 ready_i,
  output logic [DataBits-1:0]  data_o,
  output logic                 single_o,  // one bit was wrong; if it was a data bit, it is corrected
  output logic                 double_o   // two bits were wrong, or more
);

  localparam int unsigned SyndromeStages = (Latency + 1) / 2;
  localparam int unsigned OutputStages   = Latency / 2;

  typedef struct packed {
    logic [DataBits-1:0]  data;
    logic                 null_due;
    logic [CheckBits-1:0] syndrome;
  } syndrome_t;

  typedef struct packed {
    logic [DataBits-1:0] data;
    logic                single;
    logic                multiple;
  } decoded_t;

  syndrome_t syndrome_d, syndrome_q;
  decoded_t decoded_d, decoded_q;
  logic [CheckBits-1:0] checks;
  logic [DataBits-1:0][CheckBits-1:0] columns;
  logic valid, ready;

  hsiao_checks #(
    .DataBits(DataBits)
  ) u_checks (
    .data_i,
    .checks_o(checks),
    .columns_o(columns)
  );

  assign syndrome_d = '{data: data_i, null_due: null_i, syndrome: checks ^ checks_i};

  pipe_stage #(
    .Width($bits(syndrome_t)),
    .Stages(SyndromeStages)
  ) u_syndrome (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i(syndrome_d),
    .valid_o(valid),
    .ready_i(ready),
    .data_o(syndrome_q)
  );

  logic [DataBits-1:0] flips;
  logic [CheckBits-1:0] check_flips;
  logic single, multiple;

  for (genvar b = 0; b < DataBits; b++) begin : gen_data
    assign flips[b] = syndrome_q.syndrome == columns[b];
  end
  for (genvar r = 0; r < CheckBits; r++) begin : gen_checks
    assign check_flips[r] = syndrome_q.syndrome == (CheckBits'(1) << r);
  end

  assign single   = (|flips) | (|check_flips);
  assign multiple = (|syndrome_q.syndrome) & ~single;

  assign decoded_d.data     = (multiple & syndrome_q.null_due) ? '0 : syndrome_q.data ^ flips;
  assign decoded_d.single   = single;
  assign decoded_d.multiple = multiple;

  pipe_stage #(
    .Width($bits(decoded_t)),
    .Stages(OutputStages)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i(valid),
    .ready_o(ready),
    .data_i(decoded_d),
    .valid_o,
    .ready_i,
    .data_o(decoded_q)
  );

  assign data_o   = decoded_q.data;
  assign single_o = decoded_q.single;
  assign double_o = decoded_q.multiple;

endmodule
