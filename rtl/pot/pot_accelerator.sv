// The PoT array behind four AXI4-Streams in and four out, 32 bits each, as four DMA engines feed and drain it. A beat
// goes in when all four streams have a word, and out as four words that leave as each stream is ready.
module pot_accelerator
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,  // these as of pot_array
  parameter int unsigned Units       = 4,
  parameter int unsigned WeightLines = 64,
  parameter int unsigned InputLines  = 32,
  parameter int unsigned GlobalLines = 128,
  parameter int unsigned Groups      = 8,
  parameter int unsigned QueueDepth  = 16,
  parameter bit          Overlap     = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic [3:0]       s_axis_tvalid_i,
  output logic [3:0]       s_axis_tready_o,
  input  logic [3:0][31:0] s_axis_tdata_i,
  input  logic [3:0]       s_axis_tlast_i,

  output logic [3:0]       m_axis_tvalid_o,
  input  logic [3:0]       m_axis_tready_i,
  output logic [3:0][31:0] m_axis_tdata_o,
  output logic [3:0]       m_axis_tlast_o,

  output status_e          status_o,
  output logic             busy_o
);

  logic [3:0] in_valid, in_last, out_ready;
  logic [3:0][31:0] in_beat, out_beat;
  logic in_ready, out_valid, out_last;

  for (genvar s = 0; s < 4; s++) begin : gen_stream
    spill_register #(
      .Width(33)
    ) u_in (
      .clk_i,
      .rst_ni,
      .valid_i(s_axis_tvalid_i[s]),
      .ready_o(s_axis_tready_o[s]),
      .data_i({s_axis_tlast_i[s], s_axis_tdata_i[s]}),
      .valid_o(in_valid[s]),
      .ready_i((&in_valid) & in_ready),
      .data_o({in_last[s], in_beat[s]})
    );

    spill_register #(
      .Width(33)
    ) u_out (
      .clk_i,
      .rst_ni,
      .valid_i(out_valid & (&out_ready)),
      .ready_o(out_ready[s]),
      .data_i({out_last, out_beat[s]}),
      .valid_o(m_axis_tvalid_o[s]),
      .ready_i(m_axis_tready_i[s]),
      .data_o({m_axis_tlast_o[s], m_axis_tdata_o[s]})
    );
  end

  pot_array #(
    .CodeSet(CodeSet),
    .Units(Units),
    .WeightLines(WeightLines),
    .InputLines(InputLines),
    .GlobalLines(GlobalLines),
    .Groups(Groups),
    .QueueDepth(QueueDepth),
    .Overlap(Overlap)
  ) u_array (
    .clk_i,
    .rst_ni,
    .valid_i(&in_valid),
    .ready_o(in_ready),
    .beat_i(in_beat),
    .last_i(in_last),
    .valid_o(out_valid),
    .ready_i(&out_ready),
    .beat_o(out_beat),
    .last_o(out_last),
    .status_o,
    .busy_o
  );

endmodule
