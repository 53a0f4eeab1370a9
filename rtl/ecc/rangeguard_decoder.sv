// RangeGuard decoder: reads 32 bytes, decodes the range identifiers that they have against the stored check bits, and
// replaces every value whose RID was wrong by its range's representative. What cannot be decoded passes as it is, or
// becomes zero with null_i.
//
// The range table (format_i, bounds_i, representatives_i, codes_i) is that of the tensor; it may change only while no
// block is inside. Of Latency registers the decoder of the code gets the first two, the mapping's result the third, the
// code's decoder the fourth and fifth, the output the sixth.
`include "assertions.svh"

module rangeguard_decoder
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4,  // 4: DSC, 8: SSC
  parameter int unsigned Latency    = 0
) (
  input  logic              clk_i,
  input  logic              rst_ni,

  input  range_format_e     format_i,
  input  logic [14:0][8:0]  bounds_i,
  input  logic [15:0][7:0]  representatives_i,
  input  logic [255:0][1:0] codes_i,

  input  logic              valid_i,
  output logic              ready_o,
  input  logic [7:0][31:0]  data_i,
  input  logic [15:0]       checks_i,
  input  logic              null_i,

  output logic              valid_o,
  input  logic              ready_i,
  output logic [7:0][31:0]  data_o,
  output status_e           status_o
);

  localparam int unsigned MapStages    = (Latency + 3) / 6;
  localparam int unsigned OutputStages = Latency / 6;
  localparam int unsigned CodeLatency  = Latency - MapStages - OutputStages;

  logic [7:0][SymbolBits-1:0] symbols_d, symbols_q;
  logic [7:0][31:0] map_data;
  logic [15:0] map_checks;
  logic map_null, map_valid, map_ready;

  for (genvar i = 0; i < 8; i++) begin : gen_mapper
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
    .Width(256 + 16 + 1 + 8 * SymbolBits),
    .Stages(MapStages)
  ) u_map (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({data_i, checks_i, null_i, symbols_d}),
    .valid_o(map_valid),
    .ready_i(map_ready),
    .data_o({map_data, map_checks, map_null, symbols_q})
  );

  logic [7:0][SymbolBits-1:0] right, error;
  logic [7:0][31:0] code_data, substituted, result;
  logic code_null, code_valid, code_ready, possible;
  status_e code_status, status;

  rs_decoder #(
    .SymbolBits(SymbolBits),
    .Latency(CodeLatency),
    .TagWidth(257)
  ) u_code (
    .clk_i,
    .rst_ni,
    .valid_i(map_valid),
    .ready_o(map_ready),
    .symbols_i(symbols_q),
    .checks_i(map_checks),
    .tag_i({map_null, map_data}),
    .valid_o(code_valid),
    .ready_i(code_ready),
    .symbols_o(right),
    .error_o(error),
    .status_o(code_status),
    .tag_o({code_null, code_data})
  );

  // Five values a lane leave three bits of the symbol without a RID: a correction there is one that cannot be right.
  always_comb begin
    possible = 1'b1;
    if (SymbolBits == 8 && format_i == RANGE_SEXTET) begin
      for (int unsigned i = 0; i < 8; i++) possible &= ~(|error[i][SymbolBits-1:SymbolBits-3]);
    end
    status = possible ? code_status : DUE;
  end

  for (genvar i = 0; i < 8; i++) begin : gen_substitute
    rid_substitute #(
      .SymbolBits(SymbolBits)
    ) u_substitute (
      .lane_i(code_data[i]),
      .format_i,
      .representatives_i,
      .symbol_i(right[i]),
      .error_i(error[i] & {SymbolBits{possible}}),
      .lane_o(substituted[i])
    );
  end

  assign result = (code_null && status == DUE) ? '0 : substituted;

  logic [1:0] status_q;

  pipe_stage #(
    .Width(256 + 2),
    .Stages(OutputStages)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i(code_valid),
    .ready_o(code_ready),
    .data_i({result, status}),
    .valid_o,
    .ready_i,
    .data_o({data_o, status_q})
  );

  assign status_o = status_e'(status_q);

  `POTLUCK_ASSERT(TableStable, valid_o && !ready_i |=> $stable({format_i, bounds_i, representatives_i, codes_i}))

endmodule
