// Byte lanes with addresses of their own, in two slots: as many neighbouring bytes as there are lanes are read, or some
// of them written, at any address. Byte i of what begins at address a lies in lane (a + i) mod Lanes; addresses go
// round in their slot. What is read comes a cycle later, in the order of the lanes. A byte that is written in the same
// cycle must not be read.
module pot_lanes #(
  parameter int unsigned Lanes = 64,
  parameter int unsigned Bytes = 4096,  // of a slot
  localparam int unsigned AddressWidth = $clog2(Bytes),
  localparam int unsigned LaneWidth    = $clog2(Lanes),
  localparam int unsigned WordWidth    = AddressWidth - LaneWidth
) (
  input  logic                  clk_i,
  input  logic [Lanes-1:0]      write_i,          // by lane
  input  logic [AddressWidth:0] write_address_i,  // slot and address of the first byte
  input  logic [Lanes-1:0][7:0] write_data_i,     // by lane
  input  logic                  read_i,
  input  logic [AddressWidth:0] read_address_i,
  output logic [Lanes-1:0][7:0] read_data_o
);

  logic write_slot, read_slot;
  logic [LaneWidth-1:0] write_lane, read_lane;
  logic [WordWidth-1:0] write_word, read_word;
  assign {write_slot, write_word, write_lane} = write_address_i;
  assign {read_slot, read_word, read_lane}    = read_address_i;

  logic [Lanes-1:0] write_beyond, read_beyond;  // lanes below the first byte's have a later one
  assign write_beyond = ~({Lanes{1'b1}} << write_lane);
  assign read_beyond  = ~({Lanes{1'b1}} << read_lane);

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    pot_memory #(
      .Width(8),
      .Depth(2 * Bytes / Lanes)
    ) u_memory (
      .clk_i,
      .write_i(write_i[l]),
      .write_address_i({write_slot, write_word + WordWidth'(write_beyond[l])}),
      .write_data_i(write_data_i[l]),
      .read_i,
      .read_address_i({read_slot, read_word + WordWidth'(read_beyond[l])}),
      .read_data_o(read_data_o[l])
    );
  end

endmodule
