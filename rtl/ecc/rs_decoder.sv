// Decoder of RangeGuard's codes over eight data symbols: RS(12,8) over GF(16) for symbols of 4 bits (DSC, corrects two
// symbols), the doubly extended RS(10,8) over GF(256) for 8 bits (SSC, corrects one).
//
// Latency registers are dealt out before the search for the positions, before the values (DSC), at the output, after the
// power sums (DSC). tag_i accompanies a codeword.
module rs_decoder
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4,
  parameter int unsigned Latency    = 0,
  parameter int unsigned TagWidth   = 1
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,

  input  logic                       valid_i,
  output logic                       ready_o,
  input  logic [7:0][SymbolBits-1:0] symbols_i,
  input  logic [15:0]                checks_i,
  input  logic [TagWidth-1:0]        tag_i,

  output logic                       valid_o,
  input  logic                       ready_i,
  output logic [7:0][SymbolBits-1:0] symbols_o,  // corrected
  output logic [7:0][SymbolBits-1:0] error_o,    // what was corrected
  output status_e                    status_o,
  output logic [TagWidth-1:0]        tag_o
);

  localparam bit Double = SymbolBits == 4;
  localparam int unsigned SearchStages = Double ? (Latency + 3) / 4 : (Latency + 1) / 2;
  localparam int unsigned ValueStages  = Double ? (Latency + 2) / 4 : 0;
  localparam int unsigned OutputStages = Double ? (Latency + 1) / 4 : Latency / 2;
  localparam int unsigned SumStages    = Double ? Latency / 4 : 0;
  localparam int unsigned DataBits = 8 * SymbolBits;

  typedef struct packed {
    logic [TagWidth-1:0] tag;
    logic [DataBits-1:0] symbols;
    status_e             status;
    logic [DataBits-1:0] error;
  } located_t;

  located_t located_d, located_q;
  logic valid, ready;

  if (Double) begin : gen_dsc
    typedef struct packed {
      logic [TagWidth-1:0] tag;
      logic [DataBits-1:0] symbols;
      logic [3:0][3:0]     sums;
    } sums_t;

    typedef struct packed {
      logic [TagWidth-1:0] tag;
      logic [DataBits-1:0] symbols;
      logic                clean;
      logic [3:0]          sum0;
      logic [3:0]          sum1;
      logic [3:0]          determinant;
      logic [3:0]          linear;
      logic [3:0]          constant;
    } key_t;

    typedef struct packed {
      logic [TagWidth-1:0] tag;
      logic [DataBits-1:0] symbols;
      logic                clean;
      logic                pair;
      logic [11:0]         accused;
      logic [3:0]          offset;
      logic [3:0]          slope;
    } found_t;

    sums_t sums_d, sums_q;
    key_t key_d, key_q;
    found_t found_d, found_q;
    logic sums_valid, sums_ready, key_valid, key_ready;

    assign sums_d.tag     = tag_i;
    assign sums_d.symbols = symbols_i;

    xor_matrix #(
      .Inputs(48),
      .Outputs(16),
      .Columns(DSC_SUMS)
    ) u_sums (
      .in_i({checks_i, symbols_i}),
      .out_o(sums_d.sums)
    );

    pipe_stage #(
      .Width($bits(sums_t)),
      .Stages(SumStages)
    ) u_sums_registers (
      .clk_i,
      .rst_ni,
      .valid_i,
      .ready_o,
      .data_i(sums_d),
      .valid_o(sums_valid),
      .ready_i(sums_ready),
      .data_o(sums_q)
    );

    dsc_key u_key (
      .sums_i(sums_q.sums),
      .determinant_o(key_d.determinant),
      .linear_o(key_d.linear),
      .constant_o(key_d.constant)
    );

    assign key_d.tag     = sums_q.tag;
    assign key_d.symbols = sums_q.symbols;
    assign key_d.clean   = ~(|sums_q.sums);
    assign key_d.sum0    = sums_q.sums[0];
    assign key_d.sum1    = sums_q.sums[1];

    pipe_stage #(
      .Width($bits(key_t)),
      .Stages(SearchStages)
    ) u_search_registers (
      .clk_i,
      .rst_ni,
      .valid_i(sums_valid),
      .ready_o(sums_ready),
      .data_i(key_d),
      .valid_o(key_valid),
      .ready_i(key_ready),
      .data_o(key_q)
    );

    dsc_search u_search (
      .sum0_i(key_q.sum0),
      .sum1_i(key_q.sum1),
      .determinant_i(key_q.determinant),
      .linear_i(key_q.linear),
      .constant_i(key_q.constant),
      .pair_o(found_d.pair),
      .accused_o(found_d.accused),
      .offset_o(found_d.offset),
      .slope_o(found_d.slope)
    );

    assign found_d.tag     = key_q.tag;
    assign found_d.symbols = key_q.symbols;
    assign found_d.clean   = key_q.clean;

    pipe_stage #(
      .Width($bits(found_t)),
      .Stages(ValueStages)
    ) u_value_registers (
      .clk_i,
      .rst_ni,
      .valid_i(key_valid),
      .ready_o(key_ready),
      .data_i(found_d),
      .valid_o(valid),
      .ready_i(ready),
      .data_o(found_q)
    );

    dsc_values u_values (
      .clean_i(found_q.clean),
      .pair_i(found_q.pair),
      .accused_i(found_q.accused),
      .offset_i(found_q.offset),
      .slope_i(found_q.slope),
      .error_o(located_d.error),
      .status_o(located_d.status)
    );

    assign located_d.tag     = found_q.tag;
    assign located_d.symbols = found_q.symbols ^ located_d.error;
  end else if (SymbolBits == 8) begin : gen_ssc
    typedef struct packed {
      logic [TagWidth-1:0] tag;
      logic [DataBits-1:0] symbols;
      logic [1:0][7:0]     sums;
    } sums_t;

    sums_t sums_d, sums_q;

    assign sums_d.tag     = tag_i;
    assign sums_d.symbols = symbols_i;

    xor_matrix #(
      .Inputs(80),
      .Outputs(16),
      .Columns(SSC_SUMS)
    ) u_sums (
      .in_i({checks_i, symbols_i}),
      .out_o(sums_d.sums)
    );

    pipe_stage #(
      .Width($bits(sums_t)),
      .Stages(SearchStages)
    ) u_search_registers (
      .clk_i,
      .rst_ni,
      .valid_i,
      .ready_o,
      .data_i(sums_d),
      .valid_o(valid),
      .ready_i(ready),
      .data_o(sums_q)
    );

    ssc_locator u_locator (
      .sum0_i(sums_q.sums[0]),
      .sum1_i(sums_q.sums[1]),
      .error_o(located_d.error),
      .status_o(located_d.status)
    );

    assign located_d.tag     = sums_q.tag;
    assign located_d.symbols = sums_q.symbols ^ located_d.error;
  end else begin : gen_unknown
    $error("no RangeGuard code of symbols of %0d bits", SymbolBits);
  end

  pipe_stage #(
    .Width($bits(located_t)),
    .Stages(OutputStages)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i(valid),
    .ready_o(ready),
    .data_i(located_d),
    .valid_o,
    .ready_i,
    .data_o(located_q)
  );

  assign symbols_o = located_q.symbols;
  assign error_o   = located_q.error;
  assign status_o  = located_q.status;
  assign tag_o     = located_q.tag;

endmodule
