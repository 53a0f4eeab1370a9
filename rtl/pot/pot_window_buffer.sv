// Windows of two row blocks, four pixels each. A word has a byte of each lane; pixel p of a row block lies p quarters
// of the lanes further on, so that one read gives a quarter of all four pixels' words.
module pot_window_buffer #(
  parameter int unsigned Units       = 4,
  parameter int unsigned WindowBytes = 1024,  // of a pixel
  localparam int unsigned Quarter     = 4 * Units,
  localparam int unsigned Lanes       = 4 * Quarter,
  localparam int unsigned LaneWidth   = $clog2(Lanes),
  localparam int unsigned WindowWidth = $clog2(WindowBytes),
  localparam int unsigned WordWidth   = WindowWidth - LaneWidth
) (
  input  logic                         clk_i,

  input  logic [Lanes-1:0]             write_i,  // by lane
  input  logic                         write_half_i,
  input  logic [1:0]                   write_row_i,
  input  logic [WindowWidth-1:0]       write_address_i,  // of the first byte, in the window
  input  logic [Lanes-1:0][7:0]        write_data_i,

  input  logic                         read_i,
  input  logic                         read_half_i,
  input  logic [WordWidth-1:0]         read_word_i,
  input  logic [1:0]                   read_quarter_i,
  output logic [3:0][Quarter-1:0][7:0] rows_o  // a cycle later
);

  logic [WordWidth-1:0] write_word;
  logic [LaneWidth-1:0] write_lane;
  logic [1:0] quarter_q;
  logic [3:0][Quarter-1:0][7:0] data;
  assign {write_word, write_lane} = write_address_i;

  for (genvar c = 0; c < 4; c++) begin : gen_quarter
    logic [1:0] written, row;  // the quarter of a window that these lanes take, and the pixel that they give
    assign written = 2'(c) - write_row_i;
    assign row     = 2'(c) - read_quarter_i;
    for (genvar k = 0; k < Quarter; k++) begin : gen_lane
      logic beyond;  // what is written began in higher lanes
      assign beyond = {written, (LaneWidth - 2)'(k)} < write_lane;
      pot_memory #(
        .Width(8),
        .Depth(8 << WordWidth)
      ) u_memory (
        .clk_i,
        .write_i(write_i[c*Quarter+k]),
        .write_address_i({write_half_i, write_row_i, write_word + WordWidth'(beyond)}),
        .write_data_i(write_data_i[c*Quarter+k]),
        .read_i,
        .read_address_i({read_half_i, row, read_word_i}),
        .read_data_o(data[c][k])
      );
    end
  end

  always_ff @(posedge clk_i) if (read_i) quarter_q <= read_quarter_i;
  for (genvar r = 0; r < 4; r++) begin : gen_row
    assign rows_o[r] = data[quarter_q+2'(r)];
  end

endmodule
