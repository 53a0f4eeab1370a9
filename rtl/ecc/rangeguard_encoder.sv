// RangeGuard encoder: sixteen check bits over the range identifiers of 32 bytes, which pass unchanged.
//
// The range table (format_i, bounds_i, codes_i) is that of the tensor; it may change only while no block is inside.
// Latency registers are dealt out after the mapping first, then at the output.
`include "assertions.svh"

module rangeguard_encoder
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4,  // 4: DSC, 8: SSC
  parameter int unsigned Latency    = 0
) (
  input  logic              clk_i,
  input  logic              rst_ni,

  input  range_format_e     format_i,
  input  logic [14:0][8:0]  bounds_i,
  input  logic [255:0][1:0] codes_i,

  input  logic              valid_i,
  output logic              ready_o,
  input  logic [7:0][31:0]  data_i,

  output logic              valid_o,
  input  logic              ready_i,
  output logic [7:0][31:0]  data_o,
  output logic [15:0]       checks_o
);

  localparam int unsigned MapStages    = (Latency + 1) / 2;
  localparam int unsigned OutputStages = Latency / 2;

  logic [7:0][SymbolBits-1:0] symbols_d, symbols_q;
  logic [7:0][31:0] data;
  logic [15:0] checks;
  logic valid, ready;

  for (genvar i = 0; i < 8; i++) begin : gen_lane
    rid_mapper #(
      .SymbolBits(SymbolBits)
    ) u_mapper (
      .lane_i(data_i[i]),
      .format_i,
      .bounds_i,
      .codes_i,
      .symbol_o(symbols_d[i])
    );
  end

  pipe_stage #(
    .Width(256 + 8 * SymbolBits),
    .Stages(MapStages)
  ) u_map (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({data_i, symbols_d}),
    .valid_o(valid),
    .ready_i(ready),
    .data_o({data, symbols_q})
  );

  rs_encoder #(
    .SymbolBits(SymbolBits)
  ) u_code (
    .symbols_i(symbols_q),
    .checks_o(checks)
  );

  pipe_stage #(
    .Width(256 + 16),
    .Stages(OutputStages)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i(valid),
    .ready_o(ready),
    .data_i({data, checks}),
    .valid_o,
    .ready_i,
    .data_o({data_o, checks_o})
  );

  `POTLUCK_ASSERT(TableStable, valid_o && !ready_i |=> $stable({format_i, bounds_i, codes_i}))

endmodule
