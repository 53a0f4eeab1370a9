// Memory with one write and one read port; what is read comes a cycle after its address. An address that is written in
// the same cycle must not be read: the block memories of FPGAs differ there.
module pot_memory #(
  parameter int unsigned Width = 128,
  parameter int unsigned Depth = 16,
  localparam int unsigned AddressWidth = (Depth > 1) ? $clog2(Depth) : 1
) (
  input  logic                    clk_i,
  input  logic                    write_i,
  input  logic [AddressWidth-1:0] write_address_i,
  input  logic [Width-1:0]        write_data_i,
  input  logic                    read_i,
  input  logic [AddressWidth-1:0] read_address_i,
  output logic [Width-1:0]        read_data_o  // until the next read
);

  logic [Width-1:0] memory_q[Depth];
  logic [Width-1:0] read_data_q;

  always_ff @(posedge clk_i) begin
    if (write_i) memory_q[write_address_i] <= write_data_i;
    if (read_i) read_data_q <= memory_q[read_address_i];
  end

  assign read_data_o = read_data_q;

endmodule
