// A bank of L1: one access a cycle; what is read appears in the next cycle.
module l1_bank #(
  parameter int unsigned Words = 1024,
  localparam int unsigned IndexWidth = (Words > 1) ? $clog2(Words) : 1
) (
  input  logic                  clk_i,
  input  logic                  request_i,
  input  logic                  write_i,
  input  logic [IndexWidth-1:0] index_i,
  input  logic [7:0]            strobe_i,
  input  logic [63:0]           data_i,
  output logic [63:0]           data_o
);

  logic [63:0] words_q[Words];
  logic [63:0] read_q;

  always_ff @(posedge clk_i) begin
    if (request_i && write_i) begin
      for (int unsigned b = 0; b < 8; b++) begin
        if (strobe_i[b]) words_q[index_i][8*b+:8] <= data_i[8*b+:8];
      end
    end
    if (request_i && !write_i) read_q <= words_q[index_i];
  end

  assign data_o = read_q;

endmodule
